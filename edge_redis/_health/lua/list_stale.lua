-- List the nodes without a heartbeat for some time.
-- KEYS[1] heartbeats  zset    node id -> last heartbeat, server ms
-- ARGV[1] age_ms      number, heartbeats of at least this age
-- ARGV[2] limit       integer
-- ARGV[3] now_ms      integer, or '' for the server's time
-- Reply: array of ids, the oldest heartbeat first
-- Invariant: nothing is written
-- Repeat: idempotent, it only reads
-- include: clock
local now = ARGV[3] ~= '' and tonumber(ARGV[3]) or now_ms()
local before = string.format('%.0f', now - tonumber(ARGV[1]))
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'LIMIT', 0, ARGV[2])
