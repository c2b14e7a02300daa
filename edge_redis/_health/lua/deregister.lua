-- Remove a node with its history.
-- KEYS[1] heartbeats  zset    node id -> last heartbeat
-- KEYS[2] node        hash    the node's record
-- KEYS[3] history     list    the node's checks
-- KEYS[4] repeats     prefix  the last call of each client id
-- KEYS[5] suspects    hash    node id -> suspected since
-- KEYS[6] flapping    set     ids of the nodes that flap
-- ARGV[1] id          string
-- ARGV[2] client_id   string
-- ARGV[3] sequence    integer
-- Reply: string, '1', or '0' where the node was not registered
-- Invariant: nothing is left under the node's id
-- Layout: not created, since it only changes what is there
-- Repeat: remembered, so that a repeated call also says that the node was there
-- include: clock
-- include: idempotency
local heartbeats, node, history, repeats, suspects, flapping = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local id, client_id, sequence = ARGV[1], ARGV[2], ARGV[3]

local now = now_ms()
local before = recall(repeats, now, client_id, sequence)
if before then return before end

redis.call('HLEN', suspects) -- a key of another type fails here, before anything is written
redis.call('SCARD', flapping)
local removed = string.format('%.0f', redis.call('ZREM', heartbeats, id))
redis.call('HDEL', suspects, id)
redis.call('SREM', flapping, id)
redis.call('UNLINK', node, history)
remember(repeats, now, client_id, sequence, removed)
return removed
