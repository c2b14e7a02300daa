-- Read the minutes of one series.
-- KEYS[1] generation  string  the generation; absent means 0
-- KEYS[2] root        prefix  of the generations' keys
-- ARGV[1] series   string   its name
-- ARGV[2] last     integer  the last minute to read, since 1970; empty for the current one
-- ARGV[3] minutes  integer  how many, at most a few hundred
-- ARGV[4] settled  integer  1 to read what is there, whatever is left to be added
-- Reply: an array: the last minute, then each hour's {hour, {field, count, ...}}; or {'LOG', slot...}
--   where something is left to be added
-- Invariant: nothing is written
-- Repeat: idempotent
-- include: clock
-- include: numbers
-- include: series
-- include: log
local root = current_root(KEYS[1], KEYS[2])
local left = ARGV[4] == '0' and unsettled(root)
if left then return left end
local last = tonumber(ARGV[2]) or math.floor(now_ms() / 60000)
local reply = {whole(last)}
for hour = math.floor((last - tonumber(ARGV[3]) + 1) / 60), math.floor(last / 60) do
  reply[#reply + 1] = {whole(hour), redis.call('HGETALL', root .. ':t' .. whole(hour) .. ':' .. ARGV[1])}
end
return reply
