-- Read entries and count the accesses in the same step (exact mode).
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the call
-- ARGV[2] sequence   integer  of the call
-- ARGV[3..] keys     string   entry keys
-- Reply: [string | nil...]: raw values
-- Invariant: no entry in the index without its value, and no value without its rows
-- Layout: unchecked, since the caller only reads
-- Repeat: remembered: a second run reads again and counts nothing
-- include: clock
-- include: idempotency
local read_at, values = now_ms(), {}

for at = 3, #ARGV do
  values[at - 2] = redis.call('GET', KEYS[1] .. ':v:' .. ARGV[at])
end
if recall(KEYS[1] .. ':repeats', read_at, ARGV[1], ARGV[2]) then return values end

-- The most frequent read: of entries that have both a value and a count, or neither, under least_accessed. It runs before
-- the definitions that it does not need. Returns false, and changes nothing, where this is another read.
local function count_plain()
  local counts, stats = KEYS[1] .. ':counts', KEYS[1] .. ':stats'
  if string.sub(redis.call('HGET', stats, 'config') or '', 1, 14) ~= 'least_accessed' then return false end
  local scores, rows = redis.call('ZMSCORE', counts, unpack(ARGV, 3)), {}
  for at = 1, #values do
    if (values[at] and true) ~= (scores[at] and true) then return false end
    if values[at] then
      -- As score_after in order.lua.
      local score = tonumber(scores[at])
      rows[#rows + 1] = score < 1048575 * 8589934592 and score + 8589934592 or score
      rows[#rows + 1] = ARGV[at + 2]
    end
  end
  local hits = #rows / 2
  if hits > 0 then
    redis.call('ZADD', counts, unpack(rows))
    redis.call('HINCRBY', stats, 'hits', hits)
  end
  if hits < #values then redis.call('HINCRBY', stats, 'misses', #values - hits) end
  remember(KEYS[1] .. ':repeats', read_at, ARGV[1], ARGV[2], '')
  return true
end
if count_plain() then return values end

-- include: index
-- include: adaptive
-- include: order

assert_types()
local hits, expired, repaired = 0, 0, 0
for at = 3, #ARGV do
  local key = ARGV[at]
  local score = tonumber(redis.call('ZSCORE', COUNTS, key))
  if values[at - 2] then hits = hits + 1 end
  if values[at - 2] and score then
    redis.call('ZADD', COUNTS, score_after(score, 1), key)
  elseif values[at - 2] and redis.call('ZSCORE', EXPIRY, key) then
    restore_count(key)
  elseif values[at - 2] or score then
    local was = remove(key, read_at)
    if was == 'expired' then expired = expired + 1 else repaired = repaired + 1 end
  end
end
add_stat('hits', hits)
add_stat('misses', #ARGV - 2 - hits)
add_stat('expirations', expired)
add_stat('repaired', repaired)
remember(REPEATS, read_at, ARGV[1], ARGV[2], '')
return values
