-- List the nodes without a heartbeat for some time.
-- KEYS[1] heartbeats  zset    node id -> last heartbeat, server ms
-- KEYS[2] deadlines   zset    node id -> heartbeat and own timeout, server ms, of nodes that have their own timeout
-- KEYS[3] leader      hash    see leader_lease.lua
-- ARGV[1] age_ms      number, heartbeats of at least this age; or '' for nodes past their timeout
-- ARGV[2] timeout_ms  number, the caller's timeout
-- ARGV[3] limit       integer
-- ARGV[4] now_ms      integer, or '' for the server's time
-- Reply: [string...]: id and heartbeat in turn, the oldest heartbeat first
-- Invariant: nothing is written
-- Repeat: idempotent, it only reads
-- include: clock
-- include: leading
local heartbeats, deadlines, leader = KEYS[1], KEYS[2], KEYS[3]
local limit = tonumber(ARGV[3])
local server_now = now_ms()
local now = ARGV[4] ~= '' and tonumber(ARGV[4]) or server_now

local function page(key, before, offset)
  return redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%.0f', before), 'WITHSCORES', 'LIMIT', offset, limit)
end

if ARGV[1] ~= '' then return page(heartbeats, now - tonumber(ARGV[1]), 0) end
local before = now - (leading_options(leader, server_now) or tonumber(ARGV[2]))
if redis.call('ZCARD', deadlines) == 0 then return page(heartbeats, before, 0) end

-- Nodes with their own timeout are past it in the order of their deadlines, the others in that of their heartbeats.
local found, offset = {}, 0
local function add(id, heartbeat)
  found[#found + 1] = { id = id, heartbeat = heartbeat }
end
local due = page(deadlines, now, 0)
for index = 1, #due, 2 do add(due[index], redis.call('ZSCORE', heartbeats, due[index]) or '0') end
local own = #found
while #found - own < limit do
  local rows = page(heartbeats, before, offset)
  for index = 1, #rows, 2 do
    if not redis.call('ZSCORE', deadlines, rows[index]) then add(rows[index], rows[index + 1]) end
  end
  if #rows < 2 * limit then break end
  offset = offset + limit
end
table.sort(found, function(a, b) return tonumber(a.heartbeat) < tonumber(b.heartbeat) end)
local reply = {}
for index = 1, math.min(limit, #found) do
  reply[#reply + 1] = found[index].id
  reply[#reply + 1] = found[index].heartbeat
end
return reply
