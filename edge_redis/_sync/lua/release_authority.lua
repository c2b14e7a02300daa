-- Let the next edge that pushes with LOCAL_WINS be a scope's authority. Then publish a hint to the workers of all edges,
-- which names no change: those that the cloud refused try again.
-- KEYS[1] doc            hash    the scope's document in the cloud
-- ARGV[1] scope
-- Reply: integer: 1 where an edge was the authority, else 0
-- Invariant: nothing else of the document changes
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent; a repeat returns 0
-- include: cloud_hint
local released = redis.call('HDEL', KEYS[1], 'authority')
if released == 1 then publish_cloud_hint(string.match(KEYS[1], '^[^}]*}'), ARGV[1], '') end
return released
