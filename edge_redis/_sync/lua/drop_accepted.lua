-- Keep accepted changes no more, and remove all that there are, with their groups.
-- KEYS[1] repeats        hash    prefix; the last call of each client id
-- KEYS[2..] accepted     any     the setting, the changes, their number and their groups
-- ARGV[1] client_id
-- ARGV[2] call           integer, the number of the call
-- Reply: '1' | '0' | 'STALE': there was something; there was nothing; the call was given up
-- Invariant: nothing else is removed
-- Layout: not created, since it only removes what is there
-- Repeat: remembered
-- include: clock
-- include: idempotency
local repeats, client_id, call = KEYS[1], ARGV[1], ARGV[2]
local at = now_ms()
local before = recall(repeats, at, client_id, call)
if before then return before end
local was_kept = redis.call('UNLINK', unpack(KEYS, 2)) > 0 and '1' or '0'
remember(repeats, at, client_id, call, was_kept)
return was_kept
