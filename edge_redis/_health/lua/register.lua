-- Write a node's record and its heartbeat, which is now.
-- KEYS[1] heartbeats   zset    node id -> last heartbeat, server ms
-- KEYS[2] node         hash    the node's record
-- KEYS[3] history      list    the node's checks: from now on without an expiry
-- KEYS[4] spells       list    the node's changes of verdict: likewise
-- KEYS[5] deadlines    zset    node id -> heartbeat and own timeout, server ms, of nodes that have their own timeout
-- ARGV[1] id           string
-- ARGV[2] claimed_ms   integer, the node's last heartbeat by its own clock; only the clock's lead is kept (skew_ms)
-- ARGV[3] timeout_ms   number, the node's own timeout; '' for none; 'keep' to leave it as it is
-- ARGV[4] status       string
-- ARGV[5] location     string
-- ARGV[6] profile      bytes, opaque
-- ARGV[7] resources    bytes, opaque
-- ARGV[8] now_ms       integer, or '' for the server's time
-- ARGV[9] limit_ms     number, shorter intervals are recorded for the phi detector; or '' for none
-- Reply: number: the heartbeat that counts, server ms
-- Invariant: a heartbeat never goes back, and is never later than now by the server's clock
-- Repeat: idempotent, the same record is written again
-- include: clock
-- include: arrivals
-- include: record_arrival
local heartbeats, node, history, spells, deadlines = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, claimed, timeout_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local status, location, profile, resources = ARGV[4], ARGV[5], ARGV[6], ARGV[7]

local now = ARGV[8] ~= '' and tonumber(ARGV[8]) or now_ms()
local last = tonumber(redis.call('ZSCORE', heartbeats, id) or nil)
if last and ARGV[8] == '' then last = math.min(last, now) end -- the server's clock was set back
local known = redis.call('HGET', node, 'timeout_ms') -- a key of another type fails here, before anything is written
redis.call('ZCARD', deadlines)
if timeout_ms == 'keep' then timeout_ms = known or '' end
local heartbeat = math.max(now, last or -math.huge)

redis.call('HSET', node, 'status', status, 'location', location,
  'skew_ms', string.format('%.0f', math.max(0, claimed - now)), 'profile', profile, 'resources', resources)
if ARGV[9] ~= '' then record_arrival(node, last, now, tonumber(ARGV[9])) end
redis.call('ZADD', heartbeats, string.format('%.0f', heartbeat), id)
if timeout_ms ~= '' then
  redis.call('HSET', node, 'timeout_ms', timeout_ms)
  redis.call('ZADD', deadlines, string.format('%.0f', heartbeat + (tonumber(timeout_ms) or 0)), id)
elseif known then
  redis.call('HDEL', node, 'timeout_ms')
  redis.call('ZREM', deadlines, id)
end
redis.call('PERSIST', history)
redis.call('PERSIST', spells)
return string.format('%.0f', heartbeat)
