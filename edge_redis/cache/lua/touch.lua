-- Give an entry a new expiry, counted from now.
-- KEYS[1] expiry  zset    entry key -> expiry
-- KEYS[2] counts  zset    entry key -> count and generation
-- KEYS[3] stats   hash    statistics
-- KEYS[4] room    prefix  of every other key
-- ARGV[1] key     entry key
-- ARGV[2] ttl_ms  integer
-- Reply: integer, 1 where there is such an entry
-- Invariant: no entry in the index without its value
-- Repeat: idempotent: it counts the expiry from a later now
-- include: clock
-- include: index
local key, now = ARGV[1], now_ms()
local expiry = integer(now + tonumber(ARGV[2]))

assert_types()
if has_value(key) and redis.call('ZSCORE', EXPIRY, key) then
  redis.call('PEXPIREAT', value_of(key), expiry)
  redis.call('ZADD', EXPIRY, expiry, key)
  return 1
end
local was = remove(key, now)
tally('expirations', was == 'expired' and 1 or 0)
tally('healed', was == 'lost' and 1 or 0)
return 0
