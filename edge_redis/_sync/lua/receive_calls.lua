-- Take the last calls of another shard's clients, so that a call that is repeated here is recognised.
-- KEYS[1] received       hash    source -> the token of the process that copies, or its move once done
-- KEYS[2] repeats        hash    those of an hour
-- ARGV[1] source         the shard that is copied
-- ARGV[2] token          of the process
-- ARGV[3..] calls        client id and its last call, in turn
-- Reply: integer: 1, or 0 where another process copies, or everything was copied
-- Invariant: the later of two calls of a client stays
-- Layout: unchecked, since the shard is not in use yet
-- Repeat: idempotent
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local function number_of(call)
  return tonumber(string.match(call or '', '^(%d+):') or 0)
end
for i = 3, #ARGV, 2 do
  if number_of(redis.call('HGET', KEYS[2], ARGV[i])) < number_of(ARGV[i + 1]) then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
redis.call('PEXPIRE', KEYS[2], '7200000')
return 1
