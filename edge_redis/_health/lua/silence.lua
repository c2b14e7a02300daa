-- Begin or end a silence of many: one event for all of them.
-- KEYS[1] duty             hash    who watches
-- KEYS[2] transitions      stream  state changes
-- ARGV[1] fence            integer, the turn of duty
-- ARGV[2] silence          '1' to begin, '0' to end
-- ARGV[3] reason           string
-- ARGV[4] max_transitions  integer, about how many the stream keeps
-- Reply: integer, 1 where it began or ended now
-- Invariant: beginnings and ends alternate in the stream
-- Repeat: idempotent, what has begun does not begin again
-- include: clock
local duty, transitions = KEYS[1], KEYS[2]
local fence, silence, reason, max_transitions = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local known = redis.call('HMGET', duty, 'fence', 'silence')
if known[1] ~= fence or (known[2] or '0') == silence then return 0 end
redis.call('XADD', transitions, 'MAXLEN', '~', max_transitions, '*', 'node', '',
  'state', silence == '1' and 'silence' or 'silence_over', 'previous', silence == '1' and 'healthy' or 'silence',
  'at', string.format('%.0f', now_ms()), 'reason', reason)
redis.call('HSET', duty, 'silence', silence)
return 1
