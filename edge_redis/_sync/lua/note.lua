-- Note an event in a scope's history.
-- KEYS[1] history        stream  capped
-- KEYS[2] repeats        hash    prefix; the last call of each slot
-- ARGV[1] direction      push or pull
-- ARGV[2] version        integer, of the state it is about
-- ARGV[3] success        1 or 0
-- ARGV[4] message
-- ARGV[5] max_history    integer
-- ARGV[6] slot
-- ARGV[7] number
-- Reply: `OK`
-- Invariant: one event a call
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: history
local history, repeats, slot, number = KEYS[1], KEYS[2], ARGV[6], ARGV[7]
local at = now_ms()
local before = recall(repeats, at, slot, number)
if before then return before end
record(history, tonumber(ARGV[5]), ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4])
remember(repeats, at, slot, number, 'OK')
return 'OK'
