-- Record that a node flaps, or that it no longer does.
-- KEYS[1] leader           hash    see leader_lease.lua
-- KEYS[2] flapping         set     ids of the nodes that flap
-- KEYS[3] heartbeats       zset    node id -> last heartbeat, server ms
-- KEYS[4] transitions      stream  state changes
-- KEYS[5] totals           hash    counts
-- ARGV[1] term             integer, the caller's term as leader
-- ARGV[2] id               string
-- ARGV[3] flaps            '1' or '0'
-- ARGV[4] verdict          string, healthy or unhealthy: the state when it no longer flaps
-- ARGV[5] reason           string
-- ARGV[6] max_transitions  integer, about how many the stream keeps
-- Reply: integer: 1 where this is a change
-- Invariant: beginnings and ends alternate in the stream; a node that is gone leaves the set without a transition
-- Repeat: idempotent, the set remembers
-- include: clock
-- include: transition
local leader, flapping, heartbeats, transitions, totals = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local term, id, flaps, verdict, reason, max_transitions = ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[4], ARGV[5], ARGV[6]

if redis.call('HGET', leader, 'term') ~= term then return 0 end
local registered = redis.call('ZSCORE', heartbeats, id)
redis.call('XLEN', transitions) -- a key of another type fails here, before anything is written
redis.call('HLEN', totals)
local changed = redis.call(flaps and registered and 'SADD' or 'SREM', flapping, id)
if changed == 0 or not registered then return 0 end
append_transition(totals, transitions, max_transitions, {
  node = id, state = flaps and 'flapping' or verdict, previous = flaps and verdict or 'flapping',
  at = string.format('%.0f', now_ms()), reason = reason,
})
return 1
