-- Mark nodes as suspected, or restart the suspicion of nodes that answered a probe.
-- KEYS[1] leader           hash    see leader_lease.lua
-- KEYS[2] suspects         hash    node id -> suspected since, server ms
-- KEYS[3] heartbeats       zset    node id -> last heartbeat, server ms
-- KEYS[4] history          prefix  list of a node's checks at KEYS[4]:<id>
-- KEYS[5] transitions      stream  state changes
-- KEYS[6] totals           hash    counts
-- KEYS[7] flapping         set     ids of the nodes that flap
-- KEYS[8] node             prefix  hash of a node's record at KEYS[8]:<id>
-- ARGV[1] term             integer, the caller's term as leader
-- ARGV[2] max_transitions  integer, about how many the stream keeps
-- ARGV[3] restart          '1' for nodes that answered: suspected from now, without a transition; else '0'
-- ARGV[4] timeout_ms       number, the caller's timeout, for nodes without their own
-- ARGV[5] plan             string, added to the reason: other limits, and when the suspicion is confirmed
-- ARGV[6..] nodes          pairs: id, the heartbeat's age in ms
-- Reply: integer: how many are suspected from now
-- Invariant: a suspicion begins once, until a verdict ends it (see check_nodes.lua); only of a registered node
-- Repeat: idempotent, a node that is suspected already is no change
-- include: clock
-- include: transition
local leader, suspects, heartbeats, history_prefix, transitions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local totals, flapping, node_prefix = KEYS[6], KEYS[7], KEYS[8]
local term, max_transitions, restart, timeout_ms, plan = ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[4], ARGV[5]

local function reason(id, age_ms)
  local own = redis.call('HGET', node_prefix .. ':' .. id, 'timeout_ms')
  local limit_ms = own and tonumber(own) or tonumber(timeout_ms)
  return string.format('heartbeat %.1f s old, timeout %g s%s', tonumber(age_ms) / 1000, limit_ms / 1000, plan)
end

if redis.call('HGET', leader, 'term') ~= term then return 0 end
redis.call('XLEN', transitions) -- a key of another type fails here, before anything is written
redis.call('HLEN', totals)
redis.call('SCARD', flapping)
local now, begun = string.format('%.0f', now_ms()), 0
for index = 6, #ARGV, 2 do
  local id = ARGV[index]
  local known = redis.call('HEXISTS', suspects, id) == 1
  if known == restart and redis.call('ZSCORE', heartbeats, id) then
    local checked = redis.call('LLEN', history_prefix .. ':' .. id) > 0
    local why = restart or reason(id, ARGV[index + 1])
    redis.call('HSET', suspects, id, now)
    begun = begun + 1
    if not restart then
      append_transition(totals, transitions, max_transitions, {
        node = id, state = 'suspected', previous = checked and 'healthy' or 'unknown', at = now, reason = why,
        flapping = redis.call('SISMEMBER', flapping, id) == 1,
      })
    end
  end
end
return begun
