-- Take a dead letter of another shard; those of one shard come in the order of their ids.
-- KEYS[1] received       hash    source -> the token of the process that copies, or its move once done; `letters <source>` -> the id of
--                                the last letter that was taken
-- KEYS[2] dead           stream  the dead letters of this shard
-- ARGV[1] source         the shard that is copied
-- ARGV[2] token          of the process
-- ARGV[3] id             of the letter there
-- ARGV[4..] fields       its fields and values, in turn
-- Reply: integer: 1, or 0 where another process copies, or everything was copied
-- Invariant: each letter is taken once; it keeps its id, where no letter with this id or a later one was here before
-- Layout: unchecked, since the shard is not in use yet
-- Repeat: idempotent
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local function parts(id)
  local ms, number = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(number)
end
local field = 'letters ' .. ARGV[1]
local ms, number = parts(ARGV[3])
local last_ms, last_number = parts(redis.call('HGET', KEYS[1], field) or '0-0')
if ms < last_ms or (ms == last_ms and number <= last_number) then return 1 end
redis.call('HSET', KEYS[1], field, ARGV[3])
local letter = {'XADD', KEYS[2]}
for i = 3, #ARGV do letter[i] = ARGV[i] end
local added = redis.pcall(unpack(letter))
if type(added) == 'table' and added.err then
  letter[3] = '*'
  redis.call(unpack(letter))
end
return 1
