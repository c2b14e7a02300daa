-- Read entries and count the accesses in the same step (exact mode).
-- KEYS[1] room  prefix  of every key of the shard (see keys.py)
-- ARGV[1] slot    the call's slot
-- ARGV[2] number  the call's number in its slot
-- ARGV[3..] keys  entry keys
-- Reply: list of raw values, false where there is none
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

local hits, expired, healed = 0, 0, 0
for at = 3, #ARGV do
  local key = ARGV[at]
  local score = tonumber(redis.call('ZSCORE', COUNTS, key))
  if values[at - 2] then hits = hits + 1 end
  if values[at - 2] and score then
    redis.call('ZADD', COUNTS, integer(score_after(score, 1)), key)
  elseif values[at - 2] and redis.call('ZSCORE', EXPIRY, key) then
    adopt(key)
  elseif values[at - 2] or score then
    local was = remove(key, now)
    if was == 'expired' then expired = expired + 1 else healed = healed + 1 end
  end
end
tally('hits', hits)
tally('misses', #ARGV - 2 - hits)
tally('expirations', expired)
tally('healed', healed)
remember(REPEATS, now, ARGV[1], ARGV[2], '')
return values
