-- Write a node's record and its heartbeat: the given one, or now.
-- KEYS[1] heartbeats    zset    node id -> last heartbeat, server ms
-- KEYS[2] node          hash    the node's record
-- KEYS[3] history       list    the node's checks: from now on without an expiry
-- ARGV[1] id            string
-- ARGV[2] heartbeat_ms  integer, the node's last heartbeat by its own clock
-- ARGV[3] is_heartbeat  '1' where this is a heartbeat, so that now counts; else '0'
-- ARGV[4] status        string
-- ARGV[5] location      string
-- ARGV[6] profile       bytes, opaque
-- ARGV[7] resources     bytes, opaque
-- ARGV[8] now_ms        integer, or '' for the server's time
-- ARGV[9] limit_ms      number, shorter intervals are recorded for the phi detector; or '' for none
-- Reply: string, the heartbeat that counts, server ms
-- Invariant: a heartbeat never goes back, and is never later than now by the server's clock
-- Repeat: idempotent, the same record is written again
-- include: clock
-- include: arrivals
-- include: record_arrival
local heartbeats, node, history = KEYS[1], KEYS[2], KEYS[3]
local id, heartbeat, is_heartbeat = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local status, location, profile, resources = ARGV[4], ARGV[5], ARGV[6], ARGV[7]

local now = ARGV[8] ~= '' and tonumber(ARGV[8]) or now_ms()
local last = tonumber(redis.call('ZSCORE', heartbeats, id) or nil)
if last and ARGV[8] == '' then last = math.min(last, now) end -- the server's clock was set back
redis.call('HEXISTS', node, 'status') -- a key of another type fails here, before anything is written

local skew = math.max(0, heartbeat - now)
if is_heartbeat then heartbeat = now end
heartbeat = math.max(math.min(heartbeat, now), last or -math.huge)

redis.call('HSET', node, 'status', status, 'location', location, 'skew_ms', string.format('%.0f', skew),
  'profile', profile, 'resources', resources)
if is_heartbeat and ARGV[9] ~= '' then record_arrival(node, last, now, tonumber(ARGV[9])) end
redis.call('ZADD', heartbeats, string.format('%.0f', heartbeat), id)
redis.call('PERSIST', history)
return string.format('%.0f', heartbeat)
