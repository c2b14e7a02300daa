-- Note in a scope's history that a state arrived damaged.
-- KEYS[1] history        stream  capped
-- KEYS[2] repeats        hash    prefix; the last call of each slot
-- ARGV[1] version        integer, the state's own
-- ARGV[2] error
-- ARGV[3] max_history    integer
-- ARGV[4] slot
-- ARGV[5] number
-- Reply: `OK`
-- Invariant: one event a call
-- Repeat: remembered
-- include: clock
-- include: repeats
-- include: history
local history, repeats, slot, number = KEYS[1], KEYS[2], ARGV[4], ARGV[5]
local at = now_ms()
local before = recall(repeats, at, slot, number)
if before then return before end
record(history, tonumber(ARGV[3]), 'pull', tonumber(ARGV[1]), '0', ARGV[2])
remember(repeats, at, slot, number, 'OK')
return 'OK'
