-- Take in a batch of accesses that a process has buffered.
-- KEYS[1] expiry   zset    entry key -> expiry
-- KEYS[2] counts   zset    entry key -> count and generation
-- KEYS[3] stats    hash    statistics
-- KEYS[4] room     prefix  of every other key
-- KEYS[5] repeats  prefix  of what remembers calls
-- ARGV[1] slot    the buffer's slot
-- ARGV[2] number  the batch's number
-- ARGV[3] hits    integer, all of the batch
-- ARGV[4] misses  integer, all of the batch
-- ARGV[5] keys    integer, entry keys that were hit: so many times key, generation, hits follow
-- ARGV[6..] rest  these, then the keys that were missed
-- Reply: integer, 1
-- Invariant: no entry in the index without its value, and no value without its rows
-- Repeat: remembered
-- include: clock
-- include: repeats
-- include: index
local now = now_ms()
local missed_from = 6 + 3 * tonumber(ARGV[5])

if recall(KEYS[5], now, ARGV[1], ARGV[2]) then return 1 end
assert_types()

-- A count for an entry that was replaced or deleted since changes nothing. A value that has no
-- rows would be under no bound: it goes.
local function add(key, generation, hits)
  local score = tonumber(redis.call('ZSCORE', COUNTS, key))
  if score and is_of(key, score, generation) then
    redis.call('ZADD', COUNTS, integer(score_after(score, hits)), key)
    return 0
  end
  if score or redis.call('EXISTS', value_of(key)) == 0 then return 0 end
  if redis.call('ZSCORE', EXPIRY, key) then
    adopt(key)
    return 0
  end
  remove(key, now)
  return 1
end

local healed = 0
for at = 6, missed_from - 1, 3 do
  healed = healed + add(ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
end
local expired = 0
for at = missed_from, #ARGV do
  if redis.call('ZSCORE', EXPIRY, ARGV[at]) and redis.call('EXISTS', value_of(ARGV[at])) == 0 then
    local was = remove(ARGV[at], now)
    if was == 'expired' then expired = expired + 1 else healed = healed + 1 end
  end
end
tally('hits', tonumber(ARGV[3]))
tally('misses', tonumber(ARGV[4]))
tally('expirations', expired)
tally('healed', healed)
remember(KEYS[5], now, ARGV[1], ARGV[2], '1')
return 1
