-- Read some series.
-- KEYS[1] generation  string  the generation; absent means 0
-- KEYS[2] root        prefix  of the generations' keys
-- ARGV[1] buckets   integer  1 to read them, 0 for the sums alone
-- ARGV[2] settled   integer  1 to read what is there, whatever is left to be added
-- ARGV[3..] series  string   their names
-- Reply: an array of a series each: {field, value, ...}; of the sums alone one text, n e w ms ns,
--   which a client reads in a fraction of the time; or {'LOG', slot...} where something is left
-- Invariant: nothing is written
-- Repeat: idempotent
-- include: series
-- include: log
local root = current_root(KEYS[1], KEYS[2])
local left = ARGV[2] == '0' and unsettled(root)
if left then return left end
local reply = {}
for at = 3, #ARGV do
  local key = root .. ':s:' .. ARGV[at]
  if ARGV[1] == '1' then
    reply[#reply + 1] = redis.call('HGETALL', key)
  else
    local sums = redis.call('HMGET', key, 'n', 'e', 'w', 'ms', 'ns')
    for number = 1, 5 do sums[number] = sums[number] or '0' end
    reply[#reply + 1] = table.concat(sums, ' ')
  end
end
return reply
