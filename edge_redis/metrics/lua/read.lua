-- Read some series.
-- KEYS[1] generation  string  the generation; absent means 0
-- KEYS[2] root        prefix  of the generations' keys
-- ARGV[1] buckets   integer  1 to read them, 0 for the sums alone
-- ARGV[2..] series  string   their names
-- Reply: an array of a series each: {field, value, ...}
-- Invariant: nothing is written
-- Repeat: idempotent
-- include: series
local SUMS = {'n', 'e', 'w', 'ms', 'ns'}
local root = current_root(KEYS[1], KEYS[2])
local reply = {}
for at = 2, #ARGV do
  local key = root .. ':s:' .. ARGV[at]
  if ARGV[1] == '1' then
    reply[#reply + 1] = redis.call('HGETALL', key)
  else
    local found = {}
    for number, value in ipairs(redis.call('HMGET', key, unpack(SUMS))) do
      if value then
        found[#found + 1], found[#found + 2] = SUMS[number], value
      end
    end
    reply[#reply + 1] = found
  end
end
return reply
