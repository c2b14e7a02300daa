-- Add to the counts of what was carried over the link.
-- KEYS[1] totals         hash    counts of what was carried
-- KEYS[2] repeats        hash    prefix; the last call of each client id
-- ARGV[1] client_id
-- ARGV[2] call           integer, the number of the client's call
-- ARGV[3..] amounts      names of counters, each followed by the integer to add
-- Reply: 'OK' | 'STALE': the call was given up
-- Invariant: a counter only rises, unless it is damaged
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: document
-- include: totals
local totals, repeats, client_id, call = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local at = now_ms()
local before = recall(repeats, at, client_id, call)
if before then return before end
local amounts = {}
for i = 3, #ARGV, 2 do amounts[ARGV[i]] = tonumber(ARGV[i + 1]) end
add_to_totals(totals, amounts)
remember(repeats, at, client_id, call, 'OK')
return 'OK'
