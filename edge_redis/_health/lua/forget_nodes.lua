-- Remove nodes from a shard that they were copied from.
-- KEYS[1] moved  string   the shard is closed
-- ARGV[1..] ids  string   of the nodes, a few hundred at most
-- Reply: integer: 1, or 0 where the shard is not closed
-- Invariant: a shard that is open loses nothing
-- Layout: unchecked, since the shard was moved
-- Repeat: idempotent
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local tag = string.match(KEYS[1], '^[^}]*}')
for _, id in ipairs(ARGV) do
  redis.call('UNLINK', tag .. ':node:' .. id, tag .. ':history:' .. id, tag .. ':spells:' .. id)
  redis.call('ZREM', tag .. ':deadlines', id)
  redis.call('HDEL', tag .. ':suspects', id)
  redis.call('SREM', tag .. ':flapping', id)
end
redis.call('ZREM', tag .. ':heartbeats', unpack(ARGV))
return 1
