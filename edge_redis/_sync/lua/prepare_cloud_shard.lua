-- Give a new shard of the cloud an id, and name the shards whose scopes will be moved to it.
-- KEYS[1] sources        hash    the id of another shard -> what was moved from it (include/feed_sources.lua)
-- ARGV[1] replica_id     its id, where it has none
-- ARGV[2..] ids          of the other shards, each with what is known of it
-- Reply: integer: 1
-- Invariant: a reader with a position in one of those feeds does not take this shard for one that lost its data
-- Layout: unchecked, since the shard is not in use yet
-- Repeat: idempotent
redis.call('SET', string.match(KEYS[1], '^[^}]*}') .. ':replica_id', ARGV[1], 'NX')
for i = 2, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
