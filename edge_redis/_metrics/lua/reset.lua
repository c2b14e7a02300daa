-- Begin a new epoch, in which every count is zero.
-- KEYS[1] epoch    string  the current epoch; absent means 0
-- KEYS[2] retired  set     past epochs whose keys are to be removed
-- KEYS[3] repeats  prefix  of the hashes that remember the last call of each client id
-- KEYS[4] since    string  time of the last reset or forget, in ms
-- KEYS[5] earlier  string  closed where the shard is of an earlier number of shards
-- ARGV[1] client_id  string
-- ARGV[2] sequence   integer
-- ARGV[3] close      0 or 1   whether the shard is of an earlier number, and gets no more batches
-- Reply: number | 'STALE' | ['CORRUPT', string]: the new epoch; or the key, where the old one is not a number
-- Invariant: a past epoch is in the set of retired ones
-- Repeat: remembered by client id and sequence
-- include: clock
-- include: idempotency
-- include: numbers
local now = now_ms()
local known = recall(KEYS[3], now, ARGV[1], ARGV[2])
if known then return known end
local old = redis.call('GET', KEYS[1]) or '0'
if not string.find(old, '^%d+$') then return {'CORRUPT', KEYS[1]} end
redis.call('SADD', KEYS[2], old)
redis.call('SET', KEYS[4], whole(now))
if ARGV[3] == '1' then redis.call('SET', KEYS[5], 'closed') end
local new = whole(redis.call('INCR', KEYS[1]))
remember(KEYS[3], now, ARGV[1], ARGV[2], new)
return new
