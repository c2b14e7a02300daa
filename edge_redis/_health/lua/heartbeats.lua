-- Record the heartbeats of many registered nodes now.
-- KEYS[1] heartbeats  zset    node id -> last heartbeat, server ms
-- KEYS[2] node        prefix  hash of a node's record at KEYS[2]:<id>
-- KEYS[3] deadlines   zset    node id -> heartbeat and own timeout, server ms, of nodes that have their own timeout
-- ARGV[1] now_ms      integer, or '' for the server's time
-- ARGV[2] limit_ms    number, shorter intervals are recorded for the phi detector; or '' for none
-- ARGV[3..] ids       strings
-- Reply: string: '1' or '0' for each id, whether it is registered
-- Invariant: a node that is not registered is not written; a node that was OFFLINE is ONLINE
-- Layout: not created, since it only changes existing keys
-- Repeat: idempotent, a heartbeat only moves forward on the clock in use (see heartbeat_report.lua)
-- include: clock
-- include: arrivals
-- include: record_arrival
local heartbeats, node_prefix, deadlines = KEYS[1], KEYS[2], KEYS[3]

local reply, scores, due = {}, {}, {}
local now = ARGV[1] ~= '' and tonumber(ARGV[1]) or now_ms()
local move = ARGV[1] ~= '' and 'GT' or 'CH'
local limit_ms = tonumber(ARGV[2])

local function add(rows, score, id)
  rows[#rows + 1] = string.format('%.0f', score)
  rows[#rows + 1] = id
end

for index = 3, #ARGV do
  local id = ARGV[index]
  local node = node_prefix .. ':' .. id
  local record = redis.call('HMGET', node, 'status', 'timeout_ms')
  reply[#reply + 1] = record[1] and '1' or '0'
  if record[1] then
    if limit_ms then record_arrival(node, tonumber(redis.call('ZSCORE', heartbeats, id) or nil), now, limit_ms) end
    if record[1] == 'offline' then redis.call('HSET', node, 'status', 'online') end
    if record[2] then add(due, now + (tonumber(record[2]) or 0), id) end
    add(scores, now, id)
  end
end
if #scores > 0 then redis.call('ZADD', heartbeats, move, unpack(scores)) end
if #due > 0 then redis.call('ZADD', deadlines, move, unpack(due)) end
return table.concat(reply)
