-- Remove some of the keys of past epochs.
-- KEYS[1] retired  set     past epochs whose keys are to be removed
-- KEYS[2] root     prefix  of the epochs' keys
-- ARGV[1] pairs             integer  how many pairs' keys to remove in this call
-- ARGV[2] timeline_minutes  integer  how long minutes are kept
-- Reply: integer: 1 where there is more to do
-- Invariant: an epoch stays retired until all its keys are gone
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent: nothing reads what it removes
-- include: clock
-- include: numbers
-- include: unlink
local epoch = redis.call('SRANDMEMBER', KEYS[1])
if not epoch then return 0 end
local root = KEYS[2] .. ':' .. epoch
local now, timeline_minutes = now_ms(), tonumber(ARGV[2])
local names = redis.call('SRANDMEMBER', root .. ':pairs', ARGV[1])
for _, pair in ipairs(names) do
  local colon = string.find(pair, ':', 1, true)
  local length = tonumber(string.sub(pair, 1, colon - 1))
  unlink_series(root, 'f:' .. string.sub(pair, colon + 1, colon + length), now, timeline_minutes)
  unlink_series(root, 'n:' .. string.sub(pair, colon + length + 1), now, timeline_minutes)
  unlink_series(root, 'p:' .. pair, now, timeline_minutes)
  redis.call('SREM', root .. ':pairs', pair)
end
if #names > 0 then return 1 end
local writers = redis.call('SPOP', root .. ':writers', 100)
for _, writer in ipairs(writers) do redis.call('UNLINK', root .. ':wal:' .. writer) end
if #writers > 0 then return 1 end
unlink_series(root, 'all', now, timeline_minutes)
redis.call('UNLINK', root .. ':pairs', root .. ':recent', root .. ':errors', root .. ':meta')
redis.call('SREM', KEYS[1], epoch)
return 1
