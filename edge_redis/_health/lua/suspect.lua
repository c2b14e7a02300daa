-- Begin to suspect nodes of having died, or begin anew with those that answered.
-- KEYS[1] duty             hash    who watches
-- KEYS[2] suspects         hash    node id -> suspected since, server ms
-- KEYS[3] beats            zset    node id -> last heartbeat, server ms
-- KEYS[4] history          prefix  list of a node's checks at KEYS[4]:<id>
-- KEYS[5] transitions      stream  state changes
-- ARGV[1] fence            integer, the turn of duty
-- ARGV[2] max_transitions  integer, about how many the stream keeps
-- ARGV[3] again            '1' for nodes that answered: the suspicion is from now, and no news; else '0'
-- ARGV[4..] nodes          pairs: id, reason
-- Reply: integer, how many are suspected from now
-- Invariant: a suspicion begins once, until a verdict ends it (see check.lua); only of a node that is registered
-- Repeat: idempotent, who is suspected is not news
-- include: clock
local duty, suspects, beats, history_prefix, transitions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local fence, max_transitions, again = ARGV[1], ARGV[2], ARGV[3] == '1'

if redis.call('HGET', duty, 'fence') ~= fence then return 0 end
redis.call('XLEN', transitions) -- another kind of key is an error here, before anything is written
local now, begun = string.format('%.0f', now_ms()), 0
for index = 4, #ARGV, 2 do
  local id, reason = ARGV[index], ARGV[index + 1]
  local known = redis.call('HEXISTS', suspects, id) == 1
  if known == again and redis.call('ZSCORE', beats, id) then
    redis.call('HSET', suspects, id, now)
    begun = begun + 1
    if not again then
      local checked = redis.call('LLEN', history_prefix .. ':' .. id) > 0
      redis.call('XADD', transitions, 'MAXLEN', '~', max_transitions, '*', 'node', id, 'state', 'suspected',
        'previous', checked and 'healthy' or 'unknown', 'at', now, 'reason', reason)
    end
  end
end
return begun
