-- Read the facts of some nodes.
-- KEYS[1] beats   zset    node id -> last heartbeat, server ms
-- KEYS[2] node    prefix  hash of a node's facts at KEYS[2]:<id>
-- ARGV[1] status  string, or '' for any: nodes of another are left out
-- ARGV[2..] ids   strings
-- Reply: array of arrays: id, heartbeat, status, location, facts, resources
-- Invariant: nothing is written
-- Repeat: idempotent, it only reads
local beats, node_prefix, wanted = KEYS[1], KEYS[2], ARGV[1]

local reply = {}
for index = 2, #ARGV do
  local id = ARGV[index]
  local beat = redis.call('ZSCORE', beats, id)
  local found = redis.call('HMGET', node_prefix .. ':' .. id, 'status', 'location', 'facts', 'resources')
  if beat and found[1] and (wanted == '' or found[1] == wanted) then
    reply[#reply + 1] = { id, beat, found[1], found[2] or '', found[3] or '', found[4] or '' }
  end
end
return reply
