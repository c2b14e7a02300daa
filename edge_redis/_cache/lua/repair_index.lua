-- Repair a part of an index: remove rows of entries whose value Redis evicted.
-- KEYS[1] prefix  string   of every key of the shard (see keys.py)
-- ARGV[1] index   integer  1 for EXPIRY, 2 for COUNTS
-- ARGV[2] cursor  string   of the part, 0 for the first
-- Reply: string: the next cursor, 0 at the end
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes existing keys
-- Repeat: idempotent: a repaired row needs no repair
-- include: clock
-- include: index
-- include: adaptive
-- include: order
local now = now_ms()

assert_types()
local page = redis.call('ZSCAN', ARGV[1] == '1' and EXPIRY or COUNTS, ARGV[2], 'COUNT', CHUNK)
local expired, repaired = 0, 0
local function drop(key)
  local was = remove(key, now)
  if was == 'expired' then expired = expired + 1 else repaired = repaired + 1 end
end

for at = 1, #page[2], 2 do
  local key = page[2][at]
  if redis.call('EXISTS', value_of(key)) == 0 or not redis.call('ZSCORE', EXPIRY, key) then
    drop(key)
  elseif not redis.call('ZSCORE', COUNTS, key) then
    restore_count(key)
  end
end
add_stat('expirations', expired)
add_stat('repaired', repaired)
return page[1]
