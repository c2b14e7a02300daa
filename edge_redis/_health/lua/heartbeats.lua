-- Record the heartbeats of many registered nodes now.
-- KEYS[1] heartbeats  zset    node id -> last heartbeat, server ms
-- KEYS[2] node        prefix  hash of a node's record at KEYS[2]:<id>
-- ARGV[1] now_ms      integer, or '' for the server's time
-- ARGV[2] limit_ms    number, shorter intervals are recorded for the phi detector; or '' for none
-- ARGV[3..] ids       strings
-- Reply: string, '1' or '0' an id: whether it is registered
-- Invariant: a node that is not registered is not written
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent, a heartbeat only moves forward on the clock in use (see heartbeat_report.lua)
-- include: clock
-- include: arrivals
-- include: record_arrival
local heartbeats, node_prefix = KEYS[1], KEYS[2]

local reply, scores = {}, {}
local now = ARGV[1] ~= '' and tonumber(ARGV[1]) or now_ms()
local limit_ms = tonumber(ARGV[2])
for index = 3, #ARGV do
  local id = ARGV[index]
  local known = string.format('%.0f', redis.call('HEXISTS', node_prefix .. ':' .. id, 'status'))
  reply[#reply + 1] = known
  if known == '1' then
    if limit_ms then
      local last = tonumber(redis.call('ZSCORE', heartbeats, id) or nil)
      record_arrival(node_prefix .. ':' .. id, last, now, limit_ms)
    end
    scores[#scores + 1] = string.format('%.0f', now)
    scores[#scores + 1] = id
  end
end
if #scores > 0 then redis.call('ZADD', heartbeats, ARGV[1] ~= '' and 'GT' or 'CH', unpack(scores)) end
return table.concat(reply)
