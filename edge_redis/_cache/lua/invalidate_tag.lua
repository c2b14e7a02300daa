-- Remove a chunk of the entries that carry a tag.
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the call
-- ARGV[2] sequence   integer  of the call
-- ARGV[3] tag        string   name
-- Reply: string: two integers: live entries removed, and 1 where there are more entries
-- Invariant: an entry is in the set of each of its tags, and in no other
-- Layout: not created, since it only changes existing keys
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: index
-- include: leases
-- include: epochs
local now, members = now_ms(), members_of(ARGV[3])

local before = recall(REPEATS, now, ARGV[1], ARGV[2])
if before then return before end
assert_types()

local removed = {live = 0, expired = 0, lost = 0, none = 0}
for _, key in ipairs(redis.call('SRANDMEMBER', members, CHUNK)) do
  local was = remove(key, now)
  redis.call('SREM', members, key) -- where the entry's list of tags was lost
  removed[was] = removed[was] + 1
end
add_stat('expirations', removed.expired)
add_stat('repaired', removed.lost)
record_invalidation(INVALIDATED, MAX_INVALIDATED, 'tag_floor', ARGV[3])
local reply = integer(removed.live) .. ' ' .. redis.call('EXISTS', members)
publish_writes(now)
remember(REPEATS, now, ARGV[1], ARGV[2], reply)
return reply
