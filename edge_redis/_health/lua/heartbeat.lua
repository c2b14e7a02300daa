-- Record a registered node's heartbeat and nothing else: the heartbeat that fleets send most.
-- KEYS[1] heartbeats  zset    node id -> last heartbeat, server ms
-- KEYS[2] node        hash    the node's record
-- ARGV[1] id          string
-- Reply: integer, 1, or 0 where the node is not registered
-- Invariant: a node that is not registered is not written
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent, a heartbeat only moves forward (see heartbeat_report.lua)
-- include: clock
if redis.call('HEXISTS', KEYS[2], 'status') == 0 then return 0 end
redis.call('ZADD', KEYS[1], string.format('%.0f', now_ms()), ARGV[1])
return 1
