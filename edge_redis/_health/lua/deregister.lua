-- Remove a node with its history, and write that to the stream.
-- KEYS[1] heartbeats       zset    node id -> last heartbeat
-- KEYS[2] node             hash    the node's record
-- KEYS[3] history          list    the node's checks
-- KEYS[4] spells           list    the node's changes of verdict
-- KEYS[5] repeats          prefix  the last call of each client id
-- KEYS[6] suspects         hash    node id -> suspected since
-- KEYS[7] flapping         set     ids of the nodes that flap
-- KEYS[8] deadlines        zset    node id -> deadline, of nodes that have their own timeout
-- KEYS[9] transitions      stream  state changes
-- KEYS[10] totals          hash    counts
-- ARGV[1] id               string
-- ARGV[2] client_id        string
-- ARGV[3] sequence         integer
-- ARGV[4] max_transitions  integer, about how many the stream keeps
-- ARGV[5] now_ms           integer, or '' for the server's time
-- Reply: '1' | '0' | 'STALE': whether the node was registered
-- Invariant: nothing is left under the node's id; a transition for each registered node that is removed
-- Layout: not created, since it only changes existing keys
-- Repeat: remembered, so that a repeated call also says that the node was there
-- include: clock
-- include: idempotency
-- include: state
-- include: transition
local heartbeats, node, history, spells, repeats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local suspects, flapping, deadlines, transitions, totals = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local id, client_id, sequence = ARGV[1], ARGV[2], ARGV[3]

local server_now = now_ms()
local before = recall(repeats, server_now, client_id, sequence)
if before then return before end

local suspected = redis.call('HGET', suspects, id) -- a key of another type fails here, before anything is written
local flaps = redis.call('SISMEMBER', flapping, id) == 1
redis.call('ZCARD', deadlines)
redis.call('XLEN', transitions)
redis.call('HLEN', totals)
local kind = redis.call('TYPE', history).ok
local line = kind == 'list' and redis.call('LINDEX', history, 0) or ''
kind = redis.call('TYPE', node).ok
local maintenance = kind == 'hash' and redis.call('HGET', node, 'maintenance')

local removed = string.format('%.0f', redis.call('ZREM', heartbeats, id))
redis.call('HDEL', suspects, id)
redis.call('SREM', flapping, id)
redis.call('ZREM', deadlines, id)
redis.call('UNLINK', node, history, spells)
if removed == '1' then
  append_transition(totals, transitions, ARGV[4], {
    node = id, state = 'deregistered', previous = last_state(line, maintenance, suspected), flapping = flaps,
    at = ARGV[5] ~= '' and ARGV[5] or string.format('%.0f', server_now), reason = 'the node was deregistered',
  })
end
remember(repeats, server_now, client_id, sequence, removed)
return removed
