-- Remove some of the keys of past epochs.
-- KEYS[1] retired  set     past epochs whose keys are to be removed
-- KEYS[2] root     prefix  of the epochs' keys
-- ARGV[1] pairs             integer  how many pairs' keys to remove in this call
-- ARGV[2] timeline_minutes  integer  how long minutes are kept
-- Reply: integer, 1 where there is more to do
-- Invariant: an epoch stays retired until all its keys are gone
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent: nothing reads what it removes
-- include: clock
-- include: numbers
local epoch = redis.call('SRANDMEMBER', KEYS[1])
if not epoch then return 0 end
local root = KEYS[2] .. ':' .. epoch
local this_hour = math.floor(now_ms() / 3600000)

local function unlink(series)
  local keys = {root .. ':s:' .. series}
  for hour = this_hour - math.ceil(tonumber(ARGV[2]) / 60), this_hour + 1 do
    keys[#keys + 1] = root .. ':t' .. whole(hour) .. ':' .. series
  end
  redis.call('UNLINK', unpack(keys))
end

local names = redis.call('SRANDMEMBER', root .. ':pairs', ARGV[1])
for _, pair in ipairs(names) do
  local colon = string.find(pair, ':', 1, true)
  local length = tonumber(string.sub(pair, 1, colon - 1))
  unlink('f:' .. string.sub(pair, colon + 1, colon + length))
  unlink('n:' .. string.sub(pair, colon + length + 1))
  unlink('p:' .. pair)
  redis.call('SREM', root .. ':pairs', pair)
end
if #names > 0 then return 1 end
local writers = redis.call('SPOP', root .. ':writers', 100)
for _, writer in ipairs(writers) do redis.call('UNLINK', root .. ':wal:' .. writer) end
if #writers > 0 then return 1 end
unlink('all')
redis.call('UNLINK', root .. ':pairs', root .. ':recent', root .. ':errors', root .. ':meta')
redis.call('SREM', KEYS[1], epoch)
return 1
