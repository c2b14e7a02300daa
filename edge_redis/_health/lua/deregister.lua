-- Remove a node with its history.
-- KEYS[1] beats    zset    node id -> last heartbeat
-- KEYS[2] node     hash    the node's facts
-- KEYS[3] history  list    the node's checks
-- KEYS[4] repeats  prefix  the last call of each slot
-- KEYS[5] suspects hash    node id -> suspected since
-- KEYS[6] flapping set     ids of the nodes that flap
-- ARGV[1] id       string
-- ARGV[2] slot     string
-- ARGV[3] number   integer
-- Reply: string, '1', or '0' where the node was not registered
-- Invariant: nothing is left under the node's id
-- Repeat: remembered, so that the second call also says that the node was there
-- include: clock
-- include: idempotency
local beats, node, history, repeats, suspects, flapping = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local id, slot, number = ARGV[1], ARGV[2], ARGV[3]

local now = now_ms()
local before = recall(repeats, now, slot, number)
if before then return before end

redis.call('HLEN', suspects) -- another kind of key is an error here, before anything is written
redis.call('SCARD', flapping)
local removed = string.format('%.0f', redis.call('ZREM', beats, id))
redis.call('HDEL', suspects, id)
redis.call('SREM', flapping, id)
redis.call('UNLINK', node, history)
remember(repeats, now, slot, number, removed)
return removed
