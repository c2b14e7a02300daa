-- Give a new shard an id and cursors, once, before it is used.
-- KEYS[1] received       hash    `prepared` -> 1
-- ARGV[1] replica_id     its id, '' where the shard whose lineage it would continue has none
-- ARGV[2..] cursors      the digest of patterns, '' for all scopes, and the cursor of workers with these, '' for none, in turn
-- Reply: integer: 1, or 0 where it was prepared before
-- Invariant: nothing is written to a shard that is in use
-- Layout: unchecked, since the shard is not in use yet
-- Repeat: idempotent
if redis.call('HSETNX', KEYS[1], 'prepared', '1') == 0 then return 0 end
local tag = string.match(KEYS[1], '^[^}]*}')
if ARGV[1] ~= '' then redis.call('SET', tag .. ':replica_id', ARGV[1]) end
for i = 2, #ARGV, 2 do
  local digest, cursor = ARGV[i], ARGV[i + 1]
  if cursor ~= '' then redis.call('SET', tag .. ':cursor' .. (digest == '' and '' or ':' .. digest), cursor) end
  if digest ~= '' then redis.call('SADD', tag .. ':cursors', digest) end
end
return 1
