-- Take scopes of another shard's feed to the end of this one, in their order. Their documents are here already.
-- KEYS[1] received       hash    source -> the token of the process that copies, or its move once done; all other keys have its tag
--                                (see keys.py): feed, feed_number, feed_indexed, sources
-- ARGV[1] source         the shard that is copied
-- ARGV[2] token          of the process
-- ARGV[3] id             of that shard's store
-- ARGV[4] from           integer, the number there up to which the scopes came before, 0 for none
-- ARGV[5] to             integer, the number there up to which these are all that come here
-- ARGV[6..] scopes       scope and number there, in turn
-- Reply: integer: 1, or 0 where another process copies, or everything was copied
-- Invariant: numbers are given at once with the scopes, so that no reader passes a number whose scope comes later
-- Layout: unchecked, since the shard is not in use yet
-- Repeat: idempotent
-- include: document
-- include: scope_part
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local tag, id, from, to = string.match(KEYS[1], '^[^}]*}'), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local text = from == 0 and '-' or redis.call('HGET', tag .. ':sources', id) or '-'
local before, last_from, last_to, last_base = string.match(text, '^(.*) (%d+):(%d+):(%d+)$')
if last_to and tonumber(last_to) >= to then return 1 end -- a repeat
local found = redis.call('MGET', tag .. ':feed_number', tag .. ':feed_indexed')
local top = redis.call('ZREVRANGE', tag .. ':feed', 0, 0, 'WITHSCORES')[2]
local base = math.max(is_version(found[1]) and tonumber(found[1]) or 0, tonumber(top or 0))
for i = 6, #ARGV, 2 do
  local number, part = integer(base + tonumber(ARGV[i + 1]) - from), part_of(tag, ARGV[i])
  redis.call('ZADD', tag .. ':feed', number, ARGV[i])
  if part then redis.call('ZADD', part, number, ARGV[i]) end
end
local number = integer(base + to - from)
redis.call('SET', tag .. ':feed_number', number)
if (found[2] or '0') == integer(base) then redis.call('SET', tag .. ':feed_indexed', number) end
local is_next = last_to and tonumber(last_to) == from
  and tonumber(last_base) + tonumber(last_to) - tonumber(last_from) == base
local range = is_next and {last_from, ARGV[5], last_base} or {ARGV[4], ARGV[5], integer(base)}
redis.call('HSET', tag .. ':sources', id, (is_next and before or text) .. ' ' .. table.concat(range, ':'))
return 1
