-- Remove scopes that were copied to other shards from this one, which no script writes to any more.
-- KEYS[1] moved          string  that the shard is closed
-- ARGV[1..] scopes
-- Reply: integer: 1, or 0 where the shard is not closed
-- Invariant: a scope is there with all its keys, or with none
-- Layout: unchecked, since the shard is not in use any more
-- Repeat: idempotent
-- include: scope_part
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local tag = string.match(KEYS[1], '^[^}]*}')
for _, scope in ipairs(ARGV) do
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
