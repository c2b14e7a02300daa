-- Replace the record of a component's shards.
-- KEYS[1] layout  string  the record, in shard 0
-- ARGV[1] old  string  the record that is replaced
-- ARGV[2] new  string  the record that replaces it
-- Reply: string | nil: the record that is stored now; nil where there is none
-- Invariant: a record is replaced by a caller that has read it
-- Layout: unchecked
-- Repeat: idempotent
local found = redis.call('GET', KEYS[1])
if found ~= ARGV[1] then return found end
redis.call('SET', KEYS[1], ARGV[2])
return ARGV[2]
