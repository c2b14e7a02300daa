-- Remove a chunk of entries, whatever they are.
-- KEYS[1] room  prefix  of every key of the shard (see keys.py)
-- ARGV[1] slot    the call's slot
-- ARGV[2] number  the call's number in its slot
-- ARGV[3] layout  what the caller takes the cache for
-- Reply: two integers as text: live entries removed, and 1 where there are more entries; or the
--   layout of a cache of several shards that this is not
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes what is there
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: index
-- include: adaptive
local now = now_ms()

local before = recall(REPEATS, now, ARGV[1], ARGV[2])
if before then return before end
if LAYOUT and LAYOUT ~= ARGV[3] and is_one_of_several(LAYOUT) then return 'layout ' .. LAYOUT end
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
if more == 0 then
  redis.call('HDEL', STATS, 'layout')
  forget_adaptive()
end
local reply = integer(removed.live) .. ' ' .. (more > 0 and '1' or '0')
tell(now)
remember(REPEATS, now, ARGV[1], ARGV[2], reply)
return reply
