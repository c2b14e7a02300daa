-- Write a node's facts and its heartbeat: the one given, or now.
-- KEYS[1] beats      zset    node id -> last heartbeat, server ms
-- KEYS[2] node       hash    the node's facts
-- KEYS[3] history    list    the node's checks: kept from now on, where they were to expire
-- ARGV[1] id         string
-- ARGV[2] beat_ms    integer the node's own idea of its last heartbeat
-- ARGV[3] beats_now  '1' where this is a heartbeat: now counts; else '0'
-- ARGV[4] status     string
-- ARGV[5] location   string
-- ARGV[6] facts      bytes, opaque
-- ARGV[7] resources  bytes, opaque
-- ARGV[8] now_ms     integer, or '' for the server's time
-- ARGV[9] limit_ms   number, shorter intervals are noted for the phi detector; or '' for none
-- Reply: string, the heartbeat that counts, server ms
-- Invariant: a heartbeat never goes back, and is never later than now by the server's clock
-- Repeat: idempotent, the same facts are written again
-- include: clock
-- include: arrivals
-- include: arriving
local beats, node, history = KEYS[1], KEYS[2], KEYS[3]
local id, beat, beats_now = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local status, location, facts, resources = ARGV[4], ARGV[5], ARGV[6], ARGV[7]

local now = ARGV[8] ~= '' and tonumber(ARGV[8]) or now_ms()
local seen = tonumber(redis.call('ZSCORE', beats, id) or nil)
if seen and ARGV[8] == '' then seen = math.min(seen, now) end -- the server's clock was set back
redis.call('HEXISTS', node, 'status') -- another kind of key is an error here, before anything is written

local skew = math.max(0, beat - now)
if beats_now then beat = now end
beat = math.max(math.min(beat, now), seen or -math.huge)

redis.call('HSET', node, 'status', status, 'location', location, 'skew_ms', string.format('%.0f', skew),
  'facts', facts, 'resources', resources)
if beats_now and ARGV[9] ~= '' then note_arrival(node, seen, now, tonumber(ARGV[9])) end
redis.call('ZADD', beats, string.format('%.0f', beat), id)
redis.call('PERSIST', history)
return string.format('%.0f', beat)
