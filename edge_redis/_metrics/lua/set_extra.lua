-- Set how many more pairs get a series in this shard than in one of equal shares.
-- KEYS[1] epoch  string  the current epoch; absent means 0
-- KEYS[2] root   prefix  of the epochs' keys
-- ARGV[1] extra  integer  fewer where it is negative; those of all shards add up to nothing
-- Reply: integer: nothing that is of use
-- Invariant: nothing is counted by it
-- Layout: unchecked, since the record does not have this number of shards yet
-- Repeat: idempotent
-- include: epoch
return redis.call('HSET', current_root(KEYS[1], KEYS[2]) .. ':meta', 'extra', ARGV[1])
