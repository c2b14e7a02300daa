-- Append an event to a scope's history.
-- KEYS[1] history        stream  capped
-- KEYS[2] repeats        hash    prefix; the last call of each client id
-- ARGV[1] direction      push or pull
-- ARGV[2] version        integer, of the state that the event is about
-- ARGV[3] success        1 or 0
-- ARGV[4] message
-- ARGV[5] max_history    integer
-- ARGV[6] client_id
-- ARGV[7] call           integer, the number of the call
-- Reply: 'OK' | 'STALE': the call was given up
-- Invariant: one event a call
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: document
-- include: history
local history, repeats, client_id, call = KEYS[1], KEYS[2], ARGV[6], ARGV[7]
local at = now_ms()
local before = recall(repeats, at, client_id, call)
if before then return before end
record(history, tonumber(ARGV[5]), ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4])
remember(repeats, at, client_id, call, 'OK')
return 'OK'
