-- Read the minutes of one series.
-- KEYS[1] generation  string  the generation; absent means 0
-- KEYS[2] root        prefix  of the generations' keys
-- ARGV[1] series   string   its name
-- ARGV[2] last     integer  the last minute to read, since 1970; empty for the current one
-- ARGV[3] minutes  integer  how many, at most a few hundred
-- Reply: an array: the last minute, then each hour's {hour, {field, count, ...}}
-- Invariant: nothing is written
-- Repeat: idempotent
-- include: clock
-- include: numbers
-- include: series
local root = current_root(KEYS[1], KEYS[2])
local last = tonumber(ARGV[2]) or math.floor(now_ms() / 60000)
local reply = {whole(last)}
for hour = math.floor((last - tonumber(ARGV[3]) + 1) / 60), math.floor(last / 60) do
  reply[#reply + 1] = {whole(hour), redis.call('HGETALL', root .. ':t' .. whole(hour) .. ':' .. ARGV[1])}
end
return reply
