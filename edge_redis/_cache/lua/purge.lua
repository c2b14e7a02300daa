-- Remove a chunk of the expired entries.
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the call
-- ARGV[2] sequence   integer  of the call
-- Reply: integer: entries removed, fewer than CHUNK where no more are due
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes existing keys
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: index
local now = now_ms()

local before = recall(REPEATS, now, ARGV[1], ARGV[2])
if before then return tonumber(before) end
assert_types()
local removed = purge_expired(now)
remember(REPEATS, now, ARGV[1], ARGV[2], integer(removed))
return removed
