-- Remove a chunk of all entries.
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the call
-- ARGV[2] sequence   integer  of the call
-- ARGV[3] config     string   fingerprint of the caller's options
-- Reply: string: two integers: live entries removed, and 1 where there are more entries; or "config" and
--   the fingerprint of a cache of several shards that is not the caller's
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes existing keys
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: index
-- include: adaptive
local now = now_ms()

local before = recall(REPEATS, now, ARGV[1], ARGV[2])
if before then return before end
if CONFIG and CONFIG ~= ARGV[3] and has_several_shards(CONFIG) then return 'config ' .. CONFIG end
assert_types()

local keys = redis.call('ZRANGE', EXPIRY, 0, CHUNK - 1)
if #keys == 0 then keys = redis.call('ZRANGE', COUNTS, 0, CHUNK - 1) end
local removed = {live = 0, expired = 0, lost = 0, none = 0}
for _, key in ipairs(keys) do
  local was = remove(key, now)
  removed[was] = removed[was] + 1
end
add_stat('expirations', removed.expired)
add_stat('repaired', removed.lost)
add_stat('cleared', 1) -- values being computed now must not be stored
local more = redis.call('EXISTS', EXPIRY) + redis.call('EXISTS', COUNTS)
if more == 0 then
  redis.call('HDEL', STATS, 'config')
  reset_adaptive()
end
local reply = integer(removed.live) .. ' ' .. (more > 0 and '1' or '0')
publish_writes(now)
remember(REPEATS, now, ARGV[1], ARGV[2], reply)
return reply
