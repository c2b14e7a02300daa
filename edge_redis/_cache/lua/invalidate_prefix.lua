-- Remove those entries of a part of the index whose keys begin with a prefix.
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the call
-- ARGV[2] sequence   integer  of the call
-- ARGV[3] text       string   the prefix
-- ARGV[4] cursor     string   of the part, 0 for the first
-- Reply: string: two integers: live entries removed, and the next cursor, 0 at the end
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes existing keys
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: index
-- include: leases
-- include: epochs
local now, text = now_ms(), ARGV[3]

local before = recall(REPEATS, now, ARGV[1], ARGV[2])
if before then return before end
assert_types()

local page = redis.call('ZSCAN', EXPIRY, ARGV[4], 'COUNT', CHUNK)
local removed = {live = 0, expired = 0, lost = 0, none = 0}
for at = 1, #page[2], 2 do
  local key = page[2][at]
  if string.sub(key, 1, #text) == text then
    local was = remove(key, now)
    removed[was] = removed[was] + 1
  end
end
add_stat('expirations', removed.expired)
add_stat('repaired', removed.lost)
record_invalidation(INVALIDATED_PREFIXES, MAX_INVALIDATED_PREFIXES, 'prefix_floor', text)
local reply = integer(removed.live) .. ' ' .. page[1]
publish_writes(now)
remember(REPEATS, now, ARGV[1], ARGV[2], reply)
return reply
