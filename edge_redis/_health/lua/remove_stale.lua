-- Remove nodes that sent no heartbeat for too long, some at a time.
-- KEYS[1] heartbeats       zset    node id -> last heartbeat, server ms
-- KEYS[2] node             prefix  hash of a node's record at KEYS[2]:<id>
-- KEYS[3] history          prefix  list of a node's checks at KEYS[3]:<id>
-- KEYS[4] transitions      stream  state changes
-- KEYS[5] repeats          prefix  the last call of each client id
-- KEYS[6] suspects         hash    node id -> suspected since
-- KEYS[7] flapping         set     ids of the nodes that flap
-- ARGV[1] client_id        string
-- ARGV[2] sequence         integer
-- ARGV[3] age_ms           number, heartbeats of at least this age
-- ARGV[4] limit            integer, nodes at most
-- ARGV[5] max_transitions  integer, about how many the stream keeps
-- ARGV[6] now_ms           integer, or '' for the server's time
-- ARGV[7] offset           integer, nodes to leave out: those kept by the calls before
-- Reply: string, how many were removed, and how many kept
-- Invariant: a node with a younger heartbeat stays, and one in maintenance; a node goes with its record and history
-- Layout: not created, since it only changes what is there
-- Repeat: remembered
-- include: clock
-- include: idempotency
local heartbeats, node_prefix, history_prefix, transitions, repeats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local suspects, flapping = KEYS[6], KEYS[7]
local client_id, sequence, age_ms, limit, max_transitions = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]

local server_now = now_ms()
local now = ARGV[6] ~= '' and tonumber(ARGV[6]) or server_now
local earlier = recall(repeats, server_now, client_id, sequence)
if earlier then return earlier end

local before = string.format('%.0f', now - age_ms)
local stale = redis.call('ZRANGEBYSCORE', heartbeats, '-inf', before, 'WITHSCORES', 'LIMIT', ARGV[7], limit)
redis.call('XLEN', transitions) -- a key of another type fails here, before anything is written
redis.call('HLEN', suspects)
redis.call('SCARD', flapping)

local function remove(id, heartbeat)
  local age = (now - tonumber(heartbeat)) / 1000
  local reason = string.format('no heartbeat for %.1f s, removed after %g s', age, age_ms / 1000)
  redis.call('ZREM', heartbeats, id)
  redis.call('HDEL', suspects, id)
  redis.call('SREM', flapping, id)
  redis.call('UNLINK', node_prefix .. ':' .. id, history_prefix .. ':' .. id)
  redis.call('XADD', transitions, 'MAXLEN', '~', max_transitions, '*', 'node', id, 'state', 'removed',
    'previous', 'unknown', 'at', string.format('%.0f', now), 'reason', reason)
end

local removed, kept = 0, 0
for index = 1, #stale, 2 do
  local id = stale[index]
  if redis.call('HGET', node_prefix .. ':' .. id, 'status') == 'maintenance' then
    kept = kept + 1
  else
    remove(id, stale[index + 1])
    removed = removed + 1
  end
end
local reply = string.format('%.0f %.0f', removed, kept)
remember(repeats, server_now, client_id, sequence, reply)
return reply
