-- Take a copy of what another shard has of a scope.
-- KEYS[1] received       hash    source -> the token of the process that copies, or its move once done
-- ARGV[1] source         the shard that is copied
-- ARGV[2] token          of the process
-- ARGV[3] scope
-- ARGV[4] settings       its field of `scopes`, '' for none
-- ARGV[5] positions      its field of `pending_bytes`, '' for none
-- ARGV[6] score          its score in `work`, '' for none
-- ARGV[7..] dumps        of its document, outbox, bodies, history and conflicts, by DUMP; '' for none
-- Reply: integer: 1, or 0 where another process copies, or everything was copied
-- Invariant: a copy that comes after everything was copied changes nothing, since the scope may have been written since
-- Layout: unchecked, since the shard is not in use yet
-- Repeat: idempotent, a copy replaces the one before
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local tag, scope = string.match(KEYS[1], '^[^}]*}'), ARGV[3]
for i, kind in ipairs({'doc', 'pending', 'bodies', 'history', 'conflicts'}) do
  local dump, key = ARGV[6 + i], tag .. ':' .. kind .. ':' .. scope
  if dump == '' then
    redis.call('DEL', key)
  else
    redis.call('RESTORE', key, '0', dump, 'REPLACE')
  end
end
if ARGV[4] ~= '' then redis.call('HSET', tag .. ':scopes', scope, ARGV[4]) end
if ARGV[5] ~= '' then redis.call('HSET', tag .. ':pending_bytes', scope, ARGV[5]) end
if ARGV[6] ~= '' then redis.call('ZADD', tag .. ':work', ARGV[6], scope) end
return 1
