-- Remove a chunk of the entries whose time has come.
-- KEYS[1] expiry   zset    entry key -> expiry
-- KEYS[2] counts   zset    entry key -> count and generation
-- KEYS[3] stats    hash    statistics
-- KEYS[4] room     prefix  of every other key
-- KEYS[5] repeats  prefix  of what remembers calls
-- ARGV[1] slot    the call's slot
-- ARGV[2] number  the call's number in its slot
-- Reply: integer, entries removed; fewer than asked for where no more are due
-- Invariant: no entry in the index without its value
-- Repeat: remembered
-- include: clock
-- include: repeats
-- include: index
local now = now_ms()

local before = recall(KEYS[5], now, ARGV[1], ARGV[2])
if before then return tonumber(before) end
assert_types()
local removed = sweep(now)
remember(KEYS[5], now, ARGV[1], ARGV[2], integer(removed))
return removed
