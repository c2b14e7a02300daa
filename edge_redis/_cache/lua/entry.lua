-- Read an entry with its expiry and access count, without counting an access.
-- KEYS[1] prefix  string  of every key of the shard (see keys.py)
-- ARGV[1] key     string  entry key
-- Reply: [string, number, integer] | []: raw value, expiry in Unix ms, access count
-- Invariant: no entry in the index without its value
-- Layout: unchecked, since the caller only reads
-- Repeat: idempotent
-- include: clock
-- include: index
-- include: adaptive
-- include: order
local key, now = ARGV[1], now_ms()

assert_types()
local value = redis.call('GET', value_of(key))
local expiry, score = redis.call('ZSCORE', EXPIRY, key), tonumber(redis.call('ZSCORE', COUNTS, key))
if value and expiry and score then
  return {value, expiry, count_of(score)}
end
local was = remove(key, now)
add_stat('expirations', was == 'expired' and 1 or 0)
add_stat('repaired', (was == 'lost' or was == 'live') and 1 or 0)
return {}
