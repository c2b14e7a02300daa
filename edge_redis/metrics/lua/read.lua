-- Read one series.
-- KEYS[1] generation  string  the generation; absent means 0
-- KEYS[2] root        prefix  of the generations' keys
-- ARGV[1] series       string   its name
-- ARGV[2] first_block  integer  blocks of buckets to read, from this one
-- ARGV[3] last_block   integer  to this one; below the first, none
-- Reply: an array: {n, e, ms, ns}, then each block's {bucket, count, ...}
-- Invariant: nothing is written
-- Repeat: idempotent
-- include: series
local root = current_root(KEYS[1], KEYS[2])
local reply = {redis.call('HMGET', root .. ':s:' .. ARGV[1], 'n', 'e', 'ms', 'ns')}
for block = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  reply[#reply + 1] = redis.call('HGETALL', root .. ':b' .. string.format('%.0f', block) .. ':' .. ARGV[1])
end
return reply
