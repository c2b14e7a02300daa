-- Remove an entry and return its value.
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the call
-- ARGV[2] sequence   integer  of the call
-- ARGV[3] key        string   entry key
-- Reply: string | nil: raw value
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes existing keys
-- Repeat: remembered: the value is kept for a minute under the client_id
-- include: clock
-- include: idempotency
-- include: index
-- include: leases
local now, key = now_ms(), ARGV[3]
local popped = PREFIX .. ':popped:' .. ARGV[1]
local POPPED_MS = 60000

local before = recall(REPEATS, now, ARGV[1], ARGV[2])
if before then return before == '1' and redis.call('GET', popped) end
assert_types()
local has = has_value(key)
local value = has and redis.call('GET', value_of(key))
local was = remove(key, now)
if has then
  redis.call('SET', popped, value, 'PX', POPPED_MS) -- after the removal: a server without memory refuses a first SET
end
void_lease(key)
add_stat('expirations', was == 'expired' and 1 or 0)
add_stat('repaired', was == 'lost' and 1 or 0)
publish_writes(now)
remember(REPEATS, now, ARGV[1], ARGV[2], has and '1' or '0')
return value
