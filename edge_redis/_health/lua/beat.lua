-- Note a registered node's heartbeat.
-- KEYS[1] beats      zset    node id -> last heartbeat, server ms
-- KEYS[2] node       hash    the node's facts
-- ARGV[1] id         string
-- ARGV[2] status     string, or '' to leave it as it is
-- ARGV[3] resources  bytes, or '' to leave them as they are
-- ARGV[4] now_ms     integer, or '' for the server's time
-- ARGV[5] limit_ms   number, shorter intervals are noted for the phi detector; or '' for none
-- Reply: integer, 1, or 0 where the node is not registered
-- Invariant: a node that is not registered is not written
-- Repeat: idempotent, the heartbeat is only ever later, and a short interval is not noted
-- The server's own time is taken as it is, even where its clock was set back: else who dies now would seem alive
-- until the old time is reached again.
-- include: clock
-- include: arrivals
-- include: arriving
local beats, node = KEYS[1], KEYS[2]
local id, status, resources = ARGV[1], ARGV[2], ARGV[3]
local now = ARGV[4] ~= '' and tonumber(ARGV[4]) or now_ms()

if redis.call('HEXISTS', node, 'status') == 0 then return 0 end
if ARGV[5] ~= '' then
  note_arrival(node, tonumber(redis.call('ZSCORE', beats, id) or nil), now, tonumber(ARGV[5]))
end
redis.call('ZADD', beats, ARGV[4] ~= '' and 'GT' or 'CH', string.format('%.0f', now), id)
if status ~= '' then redis.call('HSET', node, 'status', status) end
if resources ~= '' then redis.call('HSET', node, 'resources', resources) end
return 1
