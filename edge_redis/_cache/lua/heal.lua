-- Make a part of the index agree with the values: rows of entries that Redis evicted by itself go.
-- KEYS[1] room  prefix  of every key of the shard (see keys.py)
-- ARGV[1] index   1 to walk EXPIRY, 2 to walk COUNTS
-- ARGV[2] cursor  where to go on, 0 to begin
-- Reply: the next cursor, 0 at the end
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent: what is gone is gone
-- include: clock
-- include: index
-- include: adaptive
-- include: order
local now = now_ms()

assert_types()
local page = redis.call('ZSCAN', ARGV[1] == '1' and EXPIRY or COUNTS, ARGV[2], 'COUNT', CHUNK)
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
