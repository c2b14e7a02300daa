-- Mark accepted changes as processed by a group.
-- KEYS[1] accepted       stream  the accepted changes, `<tag>:accepted`
-- KEYS[2] repeats        hash    prefix; the last call of each client id, `<tag>:accepted_repeats`
-- ARGV[1] group
-- ARGV[2] client_id
-- ARGV[3] call           integer, the number of the call
-- ARGV[4..] ids          of the changes
-- Reply: number | 'STALE': how many were not marked yet; the call was given up
-- Invariant: what was not delivered to the group, or is marked already, is left as it is
-- Layout: unchecked, since its users may have no right to other keys
-- Repeat: remembered
-- include: clock
-- include: idempotency
local stream, repeats, group, client_id, call = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local at = now_ms()
local before = recall(repeats, at, client_id, call)
if before then return before end
local marked = string.format('%.0f', redis.call('XACK', stream, group, unpack(ARGV, 4)))
remember(repeats, at, client_id, call, marked)
return marked
