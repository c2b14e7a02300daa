-- Read entries and count the accesses in the same step (exact mode).
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the call
-- ARGV[2] sequence   integer  of the call
-- ARGV[3..] keys     string   entry keys
-- Reply: [string | nil...]: raw values
-- Invariant: no entry in the index without its value, and no value without its rows
-- Layout: unchecked, since the caller only reads
-- Repeat: remembered: a second run reads again and counts nothing
-- include: clock
-- include: idempotency
-- include: index
-- include: adaptive
-- include: order
local now = now_ms()

assert_types()
local values = {}
for at = 3, #ARGV do
  values[at - 2] = redis.call('GET', value_of(ARGV[at]))
end
if recall(REPEATS, now, ARGV[1], ARGV[2]) then return values end

local hits, expired, repaired = 0, 0, 0
for at = 3, #ARGV do
  local key = ARGV[at]
  local score = tonumber(redis.call('ZSCORE', COUNTS, key))
  if values[at - 2] then hits = hits + 1 end
  if values[at - 2] and score then
    redis.call('ZADD', COUNTS, integer(score_after(score, 1)), key)
  elseif values[at - 2] and redis.call('ZSCORE', EXPIRY, key) then
    restore_count(key)
  elseif values[at - 2] or score then
    local was = remove(key, now)
    if was == 'expired' then expired = expired + 1 else repaired = repaired + 1 end
  end
end
add_stat('hits', hits)
add_stat('misses', #ARGV - 2 - hits)
add_stat('expirations', expired)
add_stat('repaired', repaired)
remember(REPEATS, now, ARGV[1], ARGV[2], '')
return values
