-- Read the records and heartbeats of some nodes, and the data that decide their health.
-- KEYS[1] heartbeats  zset    node id -> last heartbeat, server ms
-- KEYS[2] node        prefix  hash of a node's record at KEYS[2]:<id>
-- KEYS[3] flapping    set     ids of the nodes that flap
-- KEYS[4] leader      hash    see leader_lease.lua
-- ARGV[1] timeout_ms  number, the caller's timeout
-- ARGV[2] now_ms      integer, or '' for the server's time
-- ARGV[3..] ids       strings
-- Reply: string: packed, ten for each node: id, heartbeat's age in ms, timeout in ms, whether an operator's maintenance
--        lasts ('1' or '0'), whether it flaps ('1' or '0'), heartbeat, status, location, profile, resources
-- Invariant: nothing is written
-- Repeat: idempotent, it only reads
-- include: clock
-- include: leading
-- include: maintenance
-- include: packing
local heartbeats, node_prefix, flapping, leader = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local server_now = now_ms()
local now = ARGV[2] ~= '' and tonumber(ARGV[2]) or server_now
local timeout_ms = leading_options(leader, server_now) or tonumber(ARGV[1])

local reply = {}
for index = 3, #ARGV do
  local id = ARGV[index]
  local heartbeat = redis.call('ZSCORE', heartbeats, id)
  local record = redis.call('HMGET', node_prefix .. ':' .. id, 'status', 'location', 'profile', 'resources',
    'timeout_ms', 'maintenance')
  if heartbeat then
    for _, text in ipairs({
      id, string.format('%.0f', math.max(0, now - tonumber(heartbeat))),
      string.format('%.17g', to_timeout(record[5]) or timeout_ms), is_maintained(record[6], now) and '1' or '0',
      redis.call('SISMEMBER', flapping, id) == 1 and '1' or '0', heartbeat, record[1] or 'online', record[2] or '',
      record[3] or '', record[4] or '',
    }) do reply[#reply + 1] = text end
  end
end
return pack_strings(reply)
