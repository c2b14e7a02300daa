-- Read the records of some nodes.
-- KEYS[1] heartbeats  zset    node id -> last heartbeat, server ms
-- KEYS[2] node        prefix  hash of a node's record at KEYS[2]:<id>
-- ARGV[1] status      string, or '' for any: nodes of another status are left out
-- ARGV[2..] ids       strings
-- Reply: string: packed, six for each node: id, heartbeat, status, location, profile, resources
-- Invariant: nothing is written
-- Repeat: idempotent, it only reads
-- include: packing
local heartbeats, node_prefix, wanted = KEYS[1], KEYS[2], ARGV[1]

local reply = {}
for index = 2, #ARGV do
  local id = ARGV[index]
  local heartbeat = redis.call('ZSCORE', heartbeats, id)
  local record = redis.call('HMGET', node_prefix .. ':' .. id, 'status', 'location', 'profile', 'resources')
  if heartbeat and record[1] and (wanted == '' or record[1] == wanted) then
    for _, text in ipairs({ id, heartbeat, record[1], record[2] or '', record[3] or '', record[4] or '' }) do
      reply[#reply + 1] = text
    end
  end
end
return pack_strings(reply)
