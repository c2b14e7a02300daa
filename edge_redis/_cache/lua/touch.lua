-- Give an entry a new expiry, counted from now.
-- KEYS[1] prefix  string   of every key of the shard (see keys.py)
-- ARGV[1] key     string   entry key
-- ARGV[2] ttl_ms  integer  new TTL, 0 for ever
-- Reply: integer: 1 where the entry exists
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes existing keys
-- Repeat: idempotent: the TTL counts from a later now
-- include: clock
-- include: index
local key, now = ARGV[1], now_ms()
local ttl_ms = tonumber(ARGV[2])
local expiry = expiry_after(now, ttl_ms)

assert_types()
if has_value(key) and redis.call('ZSCORE', EXPIRY, key) then
  if ttl_ms == 0 then redis.call('PERSIST', value_of(key)) else redis.call('PEXPIREAT', value_of(key), expiry) end
  redis.call('ZADD', EXPIRY, expiry, key)
  written[#written + 1] = key
  publish_writes(now)
  return 1
end
local was = remove(key, now)
add_stat('expirations', was == 'expired' and 1 or 0)
add_stat('repaired', was == 'lost' and 1 or 0)
return 0
