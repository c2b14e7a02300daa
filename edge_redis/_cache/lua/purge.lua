-- Remove a chunk of the entries whose time has come.
-- KEYS[1] room  prefix  of every key of the shard (see keys.py)
-- ARGV[1] slot    the call's slot
-- ARGV[2] number  the call's number in its slot
-- Reply: integer, entries removed; fewer than asked for where no more are due
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes what is there
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: index
local now = now_ms()

local before = recall(REPEATS, now, ARGV[1], ARGV[2])
if before then return tonumber(before) end
assert_types()
local removed = sweep(now)
remember(REPEATS, now, ARGV[1], ARGV[2], integer(removed))
return removed
