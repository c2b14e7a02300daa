-- Remove an entry if it has a given value.
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the call
-- ARGV[2] sequence   integer  of the call
-- ARGV[3] key        string   entry key
-- ARGV[4] expected   string   canonical encoding of the value
-- Reply: integer: 1 where it was removed
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes existing keys
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: index
-- include: leases
-- include: compare
local now, key = now_ms(), ARGV[3]

local before = recall(REPEATS, now, ARGV[1], ARGV[2])
if before then return tonumber(before) end
assert_types()
local is_equal = has_equal_value(key, ARGV[4])
if is_equal then
  remove(key, now)
  void_lease(key)
  publish_writes(now)
end
remember(REPEATS, now, ARGV[1], ARGV[2], is_equal and '1' or '0')
return is_equal and 1 or 0
