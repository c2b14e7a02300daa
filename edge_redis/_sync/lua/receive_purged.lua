-- Take what another shard remembers of scopes whose delete was purged.
-- KEYS[1] received       hash    source -> the token of the process that copies, or its move once done
-- KEYS[2] purged         zset    scope -> the latest clock that it had
-- ARGV[1] source         the shard that is copied
-- ARGV[2] token          of the process
-- ARGV[3..] scopes       clock and scope, in turn
-- Reply: integer: 1, or 0 where another process copies, or everything was copied
-- Invariant: no state from before the delete brings a scope back
-- Layout: unchecked, since the shard is not in use yet
-- Repeat: idempotent
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
for i = 3, #ARGV, 2 do redis.call('ZADD', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1
