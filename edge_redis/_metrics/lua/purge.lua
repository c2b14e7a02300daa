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
-- include: log_keys
-- include: pair_names
-- include: unlink
local epoch = redis.call('SRANDMEMBER', KEYS[1])
if not epoch then return 0 end
local root = KEYS[2] .. ':' .. epoch
local now, timeline_minutes = now_ms(), tonumber(ARGV[2])

-- Returns nothing where the key is no set: what it would list is not known, and the key itself is removed below.
local function pop_some(name, count)
  local some = redis.pcall('SPOP', root .. ':' .. name, count)
  return some.err and {} or some
end

local some = pop_some('pairs', ARGV[1])
for _, pair in ipairs(some) do
  local func, node = split_pair(pair)
  if func then
    unlink_series(root, 'f:' .. func, now, timeline_minutes)
    unlink_series(root, 'n:' .. node, now, timeline_minutes)
  end
  unlink_series(root, 'p:' .. pair, now, timeline_minutes)
end
if #some > 0 then return 1 end
local unlisted = pop_some('unlisted', ARGV[1])
for _, series in ipairs(unlisted) do unlink_series(root, series, now, timeline_minutes) end
if #unlisted > 0 then return 1 end
local writers = pop_some('writers', 100)
for _, writer in ipairs(writers) do
  for number = 0, LOGS - 1 do redis.call('UNLINK', log_key(root, writer, number)) end
end
if #writers > 0 then return 1 end
unlink_series(root, 'all', now, timeline_minutes)
for _, name in ipairs({'pairs', 'unlisted', 'writers', 'recent', 'errors', 'meta'}) do
  redis.call('UNLINK', root .. ':' .. name)
end
redis.call('SREM', KEYS[1], epoch)
return 1
