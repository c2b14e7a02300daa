-- Record a registered node's heartbeat and nothing else: the heartbeat that fleets send most.
-- KEYS[1] heartbeats  zset    node id -> last heartbeat, server ms
-- KEYS[2] node        hash    the node's record
-- KEYS[3] deadlines   zset    node id -> heartbeat and own timeout, server ms, of nodes that have their own timeout
-- ARGV[1] id          string
-- Reply: integer: 1, or 0 where the node is not registered
-- Invariant: a node that is not registered is not written; a node that was OFFLINE is ONLINE
-- Layout: not created, since it only changes existing keys
-- Repeat: idempotent, a heartbeat only moves forward (see heartbeat_report.lua)
-- include: clock
local record = redis.call('HMGET', KEYS[2], 'status', 'timeout_ms')
if not record[1] then return 0 end
local now = now_ms()
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
if record[1] == 'offline' then redis.call('HSET', KEYS[2], 'status', 'online') end
if record[2] then redis.call('ZADD', KEYS[3], string.format('%.0f', now + (tonumber(record[2]) or 0)), ARGV[1]) end
return 1
