-- Ask the writing scripts to publish every write, for a near cache that the server does not notify.
-- KEYS[1] stats  hash     statistics, and the times between which writes are published
-- ARGV[1] ms     integer  how long to publish
-- Reply: integer: since when writes are published without a gap, Unix ms
-- Invariant: neither time goes back
-- Repeat: idempotent: it asks for a little longer
-- include: clock
local now = now_ms()
local till = now + tonumber(ARGV[1])
local before = tonumber(redis.call('HGET', KEYS[1], 'announce_until') or '0')

if before <= now then redis.call('HSET', KEYS[1], 'announced_since', now) end
redis.call('HSET', KEYS[1], 'announce_until', math.max(till, before))
return tonumber(redis.call('HGET', KEYS[1], 'announced_since'))
