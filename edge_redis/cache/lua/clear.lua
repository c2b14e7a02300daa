-- Remove a chunk of entries, whatever they are.
-- KEYS[1] expiry   zset    entry key -> expiry
-- KEYS[2] counts   zset    entry key -> count and generation
-- KEYS[3] stats    hash    statistics
-- KEYS[4] room     prefix  of every other key
-- KEYS[5] repeats  prefix  of what remembers calls
-- ARGV[1] slot    the call's slot
-- ARGV[2] number  the call's number in its slot
-- Reply: two integers as text: live entries removed, and 1 where there are more entries
-- Invariant: no entry in the index without its value
-- Repeat: remembered
-- include: clock
-- include: repeats
-- include: index
local now = now_ms()

local before = recall(KEYS[5], now, ARGV[1], ARGV[2])
if before then return before end
assert_types()

local keys = redis.call('ZRANGE', EXPIRY, 0, CHUNK - 1)
if #keys == 0 then keys = redis.call('ZRANGE', COUNTS, 0, CHUNK - 1) end
local removed = {live = 0, expired = 0, lost = 0, none = 0}
for _, key in ipairs(keys) do
  local was = remove(key, now)
  removed[was] = removed[was] + 1
end
tally('expirations', removed.expired)
tally('healed', removed.lost)
tally('cleared', 1) -- what is being computed now must not be stored
local more = redis.call('EXISTS', EXPIRY) + redis.call('EXISTS', COUNTS)
local reply = integer(removed.live) .. ' ' .. (more > 0 and '1' or '0')
remember(KEYS[5], now, ARGV[1], ARGV[2], reply)
return reply
