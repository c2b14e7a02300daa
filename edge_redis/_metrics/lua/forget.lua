-- Remove series, and pairs from the list of pairs.
-- KEYS[1] epoch    string  the current epoch; absent means 0
-- KEYS[2] root     prefix  of the epochs' keys
-- KEYS[3] repeats  prefix  of the hashes that remember the last call of each client id
-- KEYS[4] since    string  time of the last reset or forget, in ms
-- ARGV[1] client_id         string
-- ARGV[2] sequence          integer
-- ARGV[3] timeline_minutes  integer  how long minutes are kept
-- ARGV[4] series            integer  how many series to remove, some ten at most
-- ARGV[5..] their names, then those of the pairs to remove from the list
-- Reply: 'OK' | 'WAL' | 'STALE': WAL where logs must be compacted first, and then nothing was written
-- Invariant: no write-ahead log holds a body of a pair that is removed: it would be counted under `_other`
-- Layout: not created, since it only removes
-- Repeat: remembered by client id and sequence
-- include: clock
-- include: idempotency
-- include: numbers
-- include: epoch
-- include: wal
-- include: pair_names
-- include: unlink
local FIRST = 4
local now = now_ms()
local known = recall(KEYS[3], now, ARGV[1], ARGV[2])
if known then return known end
local root = current_root(KEYS[1], KEYS[2])
if find_uncompacted(root) then return 'WAL' end
for _, name in ipairs({'pairs', 'unlisted'}) do redis.call('SCARD', root .. ':' .. name) end -- an error for no set
redis.call('SET', KEYS[4], whole(now))
local series = tonumber(ARGV[4])
for at = FIRST + series + 1, #ARGV do
  redis.call('SREM', root .. ':pairs', ARGV[at])
  local func, node = split_pair(ARGV[at])
  redis.call('SADD', root .. ':unlisted', 'f:' .. func, 'n:' .. node)
end
for at = FIRST + 1, FIRST + series do
  unlink_series(root, ARGV[at], now, tonumber(ARGV[3]))
  redis.call('SREM', root .. ':unlisted', ARGV[at])
end
remember(KEYS[3], now, ARGV[1], ARGV[2], 'OK')
return 'OK'
