-- Remove scopes that were copied to other shards from this one, which no script writes to any more.
-- KEYS[1] moved          string  the name of the move
-- ARGV[1] move           its name
-- ARGV[2..] scopes
-- Reply: integer: 1, or 0 where the shard is not closed, or was closed anew
-- Invariant: a scope is there with all its keys, or with none
-- Layout: unchecked, since the shard is not in use any more
-- Repeat: idempotent
-- include: scope_part
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local tag = string.match(KEYS[1], '^[^}]*}')
for i = 2, #ARGV do
  local scope = ARGV[i]
  for _, kind in ipairs({'doc', 'pending', 'bodies', 'history', 'conflicts'}) do
    redis.call('UNLINK', tag .. ':' .. kind .. ':' .. scope)
  end
  redis.call('HDEL', tag .. ':scopes', scope)
  redis.call('HDEL', tag .. ':pending_bytes', scope)
  redis.call('ZREM', tag .. ':work', scope)
  redis.call('ZREM', tag .. ':feed', scope)
  local part = part_of(tag, scope)
  if part then redis.call('ZREM', part, scope) end
end
return 1
