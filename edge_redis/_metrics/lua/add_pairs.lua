-- Add pairs of an earlier number of shards to the list of this shard's, which the bound of pairs counts.
-- KEYS[1] epoch  string  the current epoch; absent means 0
-- KEYS[2] root   prefix  of the epochs' keys
-- ARGV[1..] pairs  string  their names, a few hundred at most
-- Reply: integer: how many were not listed here
-- Invariant: a pair of any number of shards is listed in its shard of the present number
-- Layout: unchecked, since the record does not have this number of shards yet
-- Repeat: idempotent
-- include: epoch
return redis.call('SADD', current_root(KEYS[1], KEYS[2]) .. ':pairs', unpack(ARGV))
