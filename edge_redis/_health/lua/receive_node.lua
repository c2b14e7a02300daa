-- Take a copy of what another shard has of a node.
-- KEYS[1] received       hash    source -> the token of the process that copies, or its move once done
-- ARGV[1] source         the shard that is copied
-- ARGV[2] token          of the process
-- ARGV[3] id             of the node
-- ARGV[4] heartbeat      its score in `heartbeats`, '' for none
-- ARGV[5] deadline       its score in `deadlines`, '' for none
-- ARGV[6] suspected      its field of `suspects`, '' for none
-- ARGV[7] flaps          0 or 1   whether it is in `flapping`
-- ARGV[8..] dumps        of its record, history and spells, by DUMP, '' for none, each before its expiry in ms, 0 for none
-- Reply: integer: 1, or 0 where another process copies, or everything was copied
-- Invariant: a copy that comes after everything was copied changes nothing, since the node may have changed since
-- Layout: unchecked, since the shard is not in use yet
-- Repeat: idempotent, a copy replaces the one before
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local tag, id = string.match(KEYS[1], '^[^}]*}'), ARGV[3]
for index, kind in ipairs({'node', 'history', 'spells'}) do
  local dump, expiry_ms = ARGV[6 + 2 * index], ARGV[7 + 2 * index]
  if dump ~= '' then redis.call('RESTORE', tag .. ':' .. kind .. ':' .. id, expiry_ms, dump, 'REPLACE') end
end
if ARGV[4] ~= '' then redis.call('ZADD', tag .. ':heartbeats', ARGV[4], id) end
if ARGV[5] ~= '' then redis.call('ZADD', tag .. ':deadlines', ARGV[5], id) end
if ARGV[6] ~= '' then redis.call('HSET', tag .. ':suspects', id, ARGV[6]) end
if ARGV[7] == '1' then redis.call('SADD', tag .. ':flapping', id) end
return 1
