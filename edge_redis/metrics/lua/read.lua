-- Read some series.
-- KEYS[1] generation  string  the generation; absent means 0
-- KEYS[2] root        prefix  of the generations' keys
-- ARGV[1] first_block  integer  blocks of buckets to read, from this one
-- ARGV[2] last_block   integer  to this one; below the first, none
-- ARGV[3..] series     string   their names
-- Reply: an array of a series each: {n, e, w, ms, ns}, then each block's {bucket, count, ...}
-- Invariant: nothing is written
-- Repeat: idempotent
-- include: numbers
-- include: series
local root = current_root(KEYS[1], KEYS[2])
local reply = {}
for at = 3, #ARGV do
  local found = {redis.call('HMGET', root .. ':s:' .. ARGV[at], 'n', 'e', 'w', 'ms', 'ns')}
  for block = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    found[#found + 1] = redis.call('HGETALL', root .. ':b' .. whole(block) .. ':' .. ARGV[at])
  end
  reply[#reply + 1] = found
end
return reply
