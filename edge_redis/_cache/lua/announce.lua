-- Ask for word of every write, for one who keeps entries at hand and cannot track them.
-- KEYS[1] stats  hash  statistics, the time until which writes are told, and since when they are
-- ARGV[1] ms  integer, for how long
-- Reply: integer, since when writes are told without a break: Unix ms
-- Invariant: neither time goes back
-- Repeat: idempotent: it asks for a little longer
-- include: clock
local now = now_ms()
local till = now + tonumber(ARGV[1])
local before = tonumber(redis.call('HGET', KEYS[1], 'announce') or '0')

if before <= now then redis.call('HSET', KEYS[1], 'announced_since', string.format('%.0f', now)) end
redis.call('HSET', KEYS[1], 'announce', string.format('%.0f', math.max(till, before)))
return tonumber(redis.call('HGET', KEYS[1], 'announced_since'))
