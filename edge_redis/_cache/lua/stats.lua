-- Read the statistics of all processes.
-- KEYS[1] expiry    zset    entry key -> expiry
-- KEYS[2] stats     hash    statistics
-- ARGV[1..] fields  string  names of statistics
-- Reply: [integer, integer, integer...]: live entries, expired entries, then the fields
-- Invariant: none, it only reads
-- Repeat: idempotent
-- include: clock
local now = string.format('%.0f', now_ms())

local reply = {redis.call('ZCOUNT', KEYS[1], now, '+inf'), redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. now)}
for at, value in ipairs(redis.call('HMGET', KEYS[2], unpack(ARGV))) do
  reply[2 + at] = tonumber(value or '0')
end
return reply
