-- End the copying of another shard: take its term and its relays.
-- KEYS[1] received       hash    source -> the token of the process that copies, or its move once done
-- ARGV[1] source         the shard that is copied
-- ARGV[2] token          of the process: the value of the shard's key `moved`, a colon, and a random word
-- ARGV[3] home           0 or 1   whether the lease of the leading watch is here from now on
-- ARGV[4] relays         integer  how many relays have begun there
-- ARGV[5..] names        of the relays, then the fields of `leader` there, and their values, in turn
-- Reply: integer: 1, or 0 where another process copies
-- Invariant: no term is taken that is below one that was seen here; a relay that has begun begins here with the first
--   transition
-- Layout: unchecked, since the shard is not in use yet
-- Repeat: idempotent
-- include: clock
local OF_SERVER = {seen_ms = true, since_ms = true, gap_ends = true, bound_ms = true, round_ms = true}
local move = string.match(ARGV[2], '^[^:]*')
local state = redis.call('HGET', KEYS[1], ARGV[1])
if state == move then return 1 end
if state ~= ARGV[2] then return 0 end
local tag = string.match(KEYS[1], '^[^}]*}')
local leader, relays = tag .. ':leader', tonumber(ARGV[4])
local found = {}
for at = 5 + relays, #ARGV, 2 do found[ARGV[at]] = ARGV[at + 1] end
local term = tonumber(redis.call('HGET', leader, 'term') or 0) or 0
if (tonumber(found.term or 0) or 0) >= term then
  for field, value in pairs(found) do
    if not OF_SERVER[field] and (ARGV[3] == '1' or field == 'term' or field == 'holder') then
      redis.call('HSET', leader, field, value)
    end
  end
end
-- Nodes could send no heartbeat while they were moved: these count as missing from now on.
redis.call('HSET', leader, 'since_ms', string.format('%.0f', now_ms()))
for at = 5, 4 + relays do
  local relay = tag .. ':relay:' .. ARGV[at]
  if redis.call('EXISTS', relay) == 0 then redis.call('HSET', relay, 'position', '0-0', 'number', '0', 'attempts', '0') end
  redis.call('SADD', tag .. ':relays', ARGV[at])
end
redis.call('HSET', KEYS[1], ARGV[1], move)
return 1
