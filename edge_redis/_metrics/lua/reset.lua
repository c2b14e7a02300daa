-- Begin a new epoch, in which every count is zero.
-- KEYS[1] epoch    string  the current epoch; absent means 0
-- KEYS[2] retired  set     past epochs whose keys are to be removed
-- KEYS[3] repeats  prefix  of the hashes that remember the last call of each client id
-- ARGV[1] client_id  string
-- ARGV[2] sequence   integer
-- Reply: the new epoch, or {'CORRUPT', key} where the old one is not a number
-- Invariant: a past epoch is in the set of retired ones
-- Repeat: remembered by client id and sequence
-- include: clock
-- include: idempotency
local now = now_ms()
local known = recall(KEYS[3], now, ARGV[1], ARGV[2])
if known then return known end
local old = redis.call('GET', KEYS[1]) or '0'
if not string.find(old, '^%d+$') then return {'CORRUPT', KEYS[1]} end
redis.call('SADD', KEYS[2], old)
local new = string.format('%.0f', redis.call('INCR', KEYS[1]))
remember(KEYS[3], now, ARGV[1], ARGV[2], new)
return new
