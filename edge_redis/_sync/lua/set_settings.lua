-- Set the settings of a scope at an edge. Then publish a hint to its workers: what the cloud refused under the former
-- strategy it may accept now.
-- KEYS[1] scopes         hash    the settings of each scope
-- ARGV[1] scope
-- ARGV[2] settings       strategy, max_pending, overflow and origin
-- Reply: 'OK'
-- Invariant: the settings that a synchronizer sets replace all others
-- Repeat: idempotent
-- include: hint_tag
-- include: edge_hint
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
publish_edge_hint(KEYS[1])
return 'OK'
