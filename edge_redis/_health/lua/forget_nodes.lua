-- Remove nodes from a shard that they were copied from.
-- KEYS[1] moved  string   the name of the move
-- ARGV[1] move   string   its name
-- ARGV[2..] ids  string   of the nodes, a few hundred at most
-- Reply: integer: 1, or 0 where the shard is not closed, or was closed anew
-- Invariant: a shard that was open meanwhile loses nothing
-- Layout: unchecked, since the shard was moved
-- Repeat: idempotent
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local tag = string.match(KEYS[1], '^[^}]*}')
for i = 2, #ARGV do
  local id = ARGV[i]
  redis.call('UNLINK', tag .. ':node:' .. id, tag .. ':history:' .. id, tag .. ':spells:' .. id)
  redis.call('ZREM', tag .. ':deadlines', id)
  redis.call('HDEL', tag .. ':suspects', id)
  redis.call('SREM', tag .. ':flapping', id)
end
redis.call('ZREM', tag .. ':heartbeats', unpack(ARGV, 2))
return 1
