-- Record the beginning or the end of a mass outage: one transition for all of its nodes.
-- KEYS[1] leader           hash    see leader_lease.lua
-- KEYS[2] transitions      stream  state changes
-- KEYS[3] totals           hash    counts
-- ARGV[1] term             integer, the caller's term as leader
-- ARGV[2] mass_outage      '1' to begin, '0' to end
-- ARGV[3] reason           string
-- ARGV[4] max_transitions  integer, about how many the stream keeps
-- Reply: integer: 1 where this is a change
-- Invariant: beginnings and ends alternate in the stream
-- Repeat: idempotent, a mass outage that has begun does not begin again
-- include: clock
-- include: transition
local leader, transitions, totals = KEYS[1], KEYS[2], KEYS[3]
local term, mass_outage, reason, max_transitions = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local known = redis.call('HMGET', leader, 'term', 'mass_outage')
if known[1] ~= term or (known[2] or '0') == mass_outage then return 0 end
local begins, now = mass_outage == '1', string.format('%.0f', now_ms())
redis.call('XLEN', transitions) -- a key of another type fails here, before anything is written
append_transition(totals, transitions, max_transitions, {
  node = '', state = begins and 'mass_outage' or 'mass_outage_over', previous = begins and 'healthy' or 'mass_outage',
  at = now, reason = reason,
})
redis.call('HSET', leader, 'mass_outage', mass_outage, 'mass_outage_since_ms', now)
return 1
