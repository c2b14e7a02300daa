-- Make a part of the index agree with the values: rows of entries that Redis evicted by itself go.
-- KEYS[1] expiry  zset    entry key -> expiry
-- KEYS[2] counts  zset    entry key -> count and generation
-- KEYS[3] stats   hash    statistics
-- KEYS[4] room    prefix  of every other key
-- ARGV[1] index   1 to walk EXPIRY, 2 to walk COUNTS
-- ARGV[2] cursor  where to go on, 0 to begin
-- Reply: the next cursor, 0 at the end
-- Invariant: no entry in the index without its value
-- Repeat: idempotent: what is gone is gone
-- include: clock
-- include: index
local now = now_ms()

assert_types()
local page = redis.call('ZSCAN', KEYS[tonumber(ARGV[1])], ARGV[2], 'COUNT', CHUNK)
local expired, healed = 0, 0
local function drop(key)
  local was = remove(key, now)
  if was == 'expired' then expired = expired + 1 else healed = healed + 1 end
end

for at = 1, #page[2], 2 do
  local key = page[2][at]
  if redis.call('EXISTS', value_of(key)) == 0 or not redis.call('ZSCORE', EXPIRY, key) then
    drop(key)
  elseif not redis.call('ZSCORE', COUNTS, key) then
    adopt(key)
  end
end
tally('expirations', expired)
tally('healed', healed)
return page[1]
