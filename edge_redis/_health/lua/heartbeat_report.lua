-- Record a registered node's heartbeat with the status and resources that it reports.
-- KEYS[1] heartbeats  zset    node id -> last heartbeat, server ms
-- KEYS[2] node        hash    the node's record
-- KEYS[3] deadlines   zset    node id -> heartbeat and own timeout, server ms, of nodes that have their own timeout
-- ARGV[1] id          string
-- ARGV[2] status      string, or '' to leave it as it is, except that OFFLINE becomes ONLINE
-- ARGV[3] resources   bytes, or '' to leave them as they are
-- ARGV[4] now_ms      integer, or '' for the server's time
-- ARGV[5] limit_ms    number, shorter intervals are recorded for the phi detector; or '' for none
-- Reply: integer: 1, or 0 where the node is not registered
-- Invariant: a node that is not registered is not written
-- Layout: not created, since it only changes existing keys
-- Repeat: idempotent, a heartbeat only moves forward, and a short interval is not recorded
-- The server's own time is taken as it is, even where its clock was set back. Otherwise a node that dies now would
-- seem alive until the old time is reached again.
-- include: clock
-- include: arrivals
-- include: record_arrival
local heartbeats, node, deadlines = KEYS[1], KEYS[2], KEYS[3]
local id, status, resources = ARGV[1], ARGV[2], ARGV[3]
local now = ARGV[4] ~= '' and tonumber(ARGV[4]) or now_ms()
local move = ARGV[4] ~= '' and 'GT' or 'CH'

local record = redis.call('HMGET', node, 'status', 'timeout_ms')
if not record[1] then return 0 end
if ARGV[5] ~= '' then
  record_arrival(node, tonumber(redis.call('ZSCORE', heartbeats, id) or nil), now, tonumber(ARGV[5]))
end
redis.call('ZADD', heartbeats, move, string.format('%.0f', now), id)
if record[2] then redis.call('ZADD', deadlines, move, string.format('%.0f', now + (tonumber(record[2]) or 0)), id) end
if status == '' and record[1] == 'offline' then status = 'online' end
if status ~= '' then redis.call('HSET', node, 'status', status) end
if resources ~= '' then redis.call('HSET', node, 'resources', resources) end
return 1
