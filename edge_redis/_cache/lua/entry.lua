-- Read an entry and what the index knows of it; no access is counted.
-- KEYS[1] room  prefix  of every key of the shard (see keys.py)
-- ARGV[1] key  entry key
-- Reply: raw value, expiry in Unix ms, access count; or an empty list
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
tally('expirations', was == 'expired' and 1 or 0)
tally('healed', (was == 'lost' or was == 'live') and 1 or 0)
return {}
