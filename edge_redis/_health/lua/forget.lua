-- Remove nodes that have been silent for too long, some at a time.
-- KEYS[1] beats            zset    node id -> last heartbeat, server ms
-- KEYS[2] node             prefix  hash of a node's facts at KEYS[2]:<id>
-- KEYS[3] history          prefix  list of a node's checks at KEYS[3]:<id>
-- KEYS[4] transitions      stream  state changes
-- KEYS[5] repeats          prefix  the last call of each slot
-- KEYS[6] suspects         hash    node id -> suspected since
-- KEYS[7] flapping         set     ids of the nodes that flap
-- ARGV[1] slot             string
-- ARGV[2] number           integer
-- ARGV[3] age_ms           number, heartbeats of at least this age
-- ARGV[4] limit            integer, nodes at most
-- ARGV[5] max_transitions  integer, about how many the stream keeps
-- ARGV[6] now_ms           integer, or '' for the server's time
-- ARGV[7] offset           integer, nodes to leave out: those kept by the calls before
-- Reply: string, how many were removed, and how many kept
-- Invariant: a node whose heartbeat is younger stays, and one in maintenance; a node goes with its facts and history
-- Repeat: remembered
-- include: clock
-- include: idempotency
local beats, node_prefix, history_prefix, transitions, repeats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local suspects, flapping = KEYS[6], KEYS[7]
local slot, number, age_ms, limit, max_transitions = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]

local server_now = now_ms()
local now = ARGV[6] ~= '' and tonumber(ARGV[6]) or server_now
local earlier = recall(repeats, server_now, slot, number)
if earlier then return earlier end

local before = string.format('%.0f', now - age_ms)
local silent = redis.call('ZRANGEBYSCORE', beats, '-inf', before, 'WITHSCORES', 'LIMIT', ARGV[7], limit)
redis.call('XLEN', transitions) -- another kind of key is an error here, before anything is written
redis.call('HLEN', suspects)
redis.call('SCARD', flapping)

local function remove(id, beat)
  local reason = string.format('silent for %.1f s, kept for %g s', (now - tonumber(beat)) / 1000, age_ms / 1000)
  redis.call('ZREM', beats, id)
  redis.call('HDEL', suspects, id)
  redis.call('SREM', flapping, id)
  redis.call('UNLINK', node_prefix .. ':' .. id, history_prefix .. ':' .. id)
  redis.call('XADD', transitions, 'MAXLEN', '~', max_transitions, '*', 'node', id, 'state', 'forgotten',
    'previous', 'unknown', 'at', string.format('%.0f', now), 'reason', reason)
end

local removed, kept = 0, 0
for index = 1, #silent, 2 do
  local id = silent[index]
  if redis.call('HGET', node_prefix .. ':' .. id, 'status') == 'maintenance' then
    kept = kept + 1
  else
    remove(id, silent[index + 1])
    removed = removed + 1
  end
end
local reply = string.format('%.0f %.0f', removed, kept)
remember(repeats, server_now, slot, number, reply)
return reply
