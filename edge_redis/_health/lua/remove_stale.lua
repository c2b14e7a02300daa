-- Remove nodes that sent no heartbeat for too long, some at a time.
-- KEYS[1] heartbeats       zset    node id -> last heartbeat, server ms
-- KEYS[2] node             prefix  hash of a node's record at KEYS[2]:<id>
-- KEYS[3] history          prefix  list of a node's checks at KEYS[3]:<id>
-- KEYS[4] spells           prefix  list of a node's changes of verdict at KEYS[4]:<id>
-- KEYS[5] transitions      stream  state changes
-- KEYS[6] totals           hash    counts
-- KEYS[7] repeats          prefix  the last call of each client id
-- KEYS[8] suspects         hash    node id -> suspected since
-- KEYS[9] flapping         set     ids of the nodes that flap
-- KEYS[10] deadlines       zset    node id -> deadline, of nodes that have their own timeout
-- ARGV[1] client_id        string
-- ARGV[2] sequence         integer
-- ARGV[3] age_ms           number, heartbeats of at least this age
-- ARGV[4] limit            integer, nodes at most
-- ARGV[5] max_transitions  integer, about how many the stream keeps
-- ARGV[6] now_ms           integer, or '' for the server's time
-- ARGV[7] offset           integer, nodes to leave out: those kept by the calls before
-- Reply: string: how many were removed, and how many kept
-- Invariant: a node with a younger heartbeat stays, and one in maintenance; a node goes with its record and history
-- Layout: not created, since it only changes existing keys
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: state
-- include: maintenance
-- include: transition
local heartbeats, node_prefix, history_prefix, spells_prefix = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local transitions, totals, repeats, suspects, flapping, deadlines = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local client_id, sequence, age_ms, limit, max_transitions = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]

local server_now = now_ms()
local now = ARGV[6] ~= '' and tonumber(ARGV[6]) or server_now
local earlier = recall(repeats, server_now, client_id, sequence)
if earlier then return earlier end

local before = string.format('%.0f', now - age_ms)
local rows = redis.call('ZRANGEBYSCORE', heartbeats, '-inf', before, 'WITHSCORES', 'LIMIT', ARGV[7], limit)
redis.call('XLEN', transitions) -- a key of another type fails here, before anything is written
redis.call('HLEN', totals)
redis.call('HLEN', suspects)
redis.call('SCARD', flapping)
redis.call('ZCARD', deadlines)

local stale, kept = {}, 0
for index = 1, #rows, 2 do
  local id = rows[index]
  local record = redis.call('HMGET', node_prefix .. ':' .. id, 'status', 'maintenance')
  if record[1] == 'maintenance' or is_maintained(record[2], now) then
    kept = kept + 1
  else
    stale[#stale + 1] = {
      id = id, heartbeat = tonumber(rows[index + 1]), flapping = redis.call('SISMEMBER', flapping, id) == 1,
      state = last_state(redis.call('LINDEX', history_prefix .. ':' .. id, 0) or '', record[2],
        redis.call('HGET', suspects, id)),
    }
  end
end

for _, node in ipairs(stale) do
  local age = (now - node.heartbeat) / 1000
  redis.call('ZREM', heartbeats, node.id)
  redis.call('HDEL', suspects, node.id)
  redis.call('SREM', flapping, node.id)
  redis.call('ZREM', deadlines, node.id)
  redis.call('UNLINK', node_prefix .. ':' .. node.id, history_prefix .. ':' .. node.id, spells_prefix .. ':' .. node.id)
  append_transition(totals, transitions, max_transitions, {
    node = node.id, state = 'removed', previous = node.state, at = string.format('%.0f', now), flapping = node.flapping,
    reason = string.format('no heartbeat for %.1f s, removed after %g s', age, age_ms / 1000),
  })
end
local reply = string.format('%.0f %.0f', #stale, kept)
remember(repeats, server_now, client_id, sequence, reply)
return reply
