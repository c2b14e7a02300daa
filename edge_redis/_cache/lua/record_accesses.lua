-- Count a batch of accesses that a process has buffered.
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the buffer
-- ARGV[2] sequence   integer  of the batch
-- ARGV[3] hits       integer  of the whole batch
-- ARGV[4] misses     integer  of the whole batch
-- ARGV[5] hit        string   JSON array: key, generation and hits of each entry that was read
-- ARGV[6] missed     string   JSON array: keys that were missed
-- Reply: integer: 1
-- Invariant: no entry in the index without its value, and no value without its rows
-- Layout: not created, since it only changes existing keys
-- Repeat: remembered
-- include: clock
-- include: idempotency
local counted_at = now_ms()
if recall(KEYS[1] .. ':repeats', counted_at, ARGV[1], ARGV[2]) then return 1 end
local hit, missed = cjson.decode(ARGV[5]), cjson.decode(ARGV[6])

-- The most frequent batch: of entries that have a count or are gone, under least_accessed, where no missed key has a row.
-- It is counted by a few commands for all entries, before the definitions that it does not need. Returns false, and
-- changes nothing, where this is another batch.
local function record_plain()
  local counts, stats = KEYS[1] .. ':counts', KEYS[1] .. ':stats'
  if string.sub(redis.call('HGET', stats, 'config') or '', 1, 14) ~= 'least_accessed' then return false end
  for _, expiry in ipairs(#missed > 0 and redis.call('ZMSCORE', KEYS[1] .. ':expiry', unpack(missed)) or {}) do
    if expiry then return false end
  end
  local keys, values, rows = {}, {}, {}
  for at = 1, #hit, 3 do keys[#keys + 1] = hit[at] end
  local scores = #keys > 0 and redis.call('ZMSCORE', counts, unpack(keys)) or {}
  for at, key in ipairs(keys) do
    local score = tonumber(scores[at] or nil)
    local generation, hits = hit[3 * at - 1], hit[3 * at]
    if not score then
      values[#values + 1] = KEYS[1] .. ':v:' .. key
    elseif score % 8589934592 == generation then
      rows[#rows + 1] = math.min(math.floor(score / 8589934592) + hits, 1048575) * 8589934592 + generation -- as order.lua
      rows[#rows + 1] = key
    end
  end
  if #values > 0 and redis.call('EXISTS', unpack(values)) > 0 then return false end
  if #rows > 0 then redis.call('ZADD', counts, unpack(rows)) end
  if ARGV[3] ~= '0' then redis.call('HINCRBY', stats, 'hits', ARGV[3]) end
  if ARGV[4] ~= '0' then redis.call('HINCRBY', stats, 'misses', ARGV[4]) end
  remember(KEYS[1] .. ':repeats', counted_at, ARGV[1], ARGV[2], '1')
  return true
end
if record_plain() then return 1 end

-- include: index
-- include: adaptive
-- include: order
assert_types()

-- Counts hits of an entry; returns 1 where it had to be removed. Hits of an entry that was replaced or
-- deleted since change nothing. A value without rows is under no bound, so it is removed.
local function add(key, generation, hits)
  local score = tonumber(redis.call('ZSCORE', COUNTS, key))
  if score and has_generation(key, score, generation) then
    redis.call('ZADD', COUNTS, score_after(score, hits), key)
    return 0
  end
  if score or redis.call('EXISTS', value_of(key)) == 0 then return 0 end
  if redis.call('ZSCORE', EXPIRY, key) then
    restore_count(key)
    return 0
  end
  remove(key, counted_at)
  return 1
end

local repaired = 0
for at = 1, #hit, 3 do
  repaired = repaired + add(hit[at], hit[at + 1], hit[at + 2])
end
local expired = 0
for _, key in ipairs(missed) do
  if redis.call('ZSCORE', EXPIRY, key) and redis.call('EXISTS', value_of(key)) == 0 then
    local was = remove(key, counted_at)
    if was == 'expired' then expired = expired + 1 else repaired = repaired + 1 end
  end
end
add_stat('hits', tonumber(ARGV[3]))
add_stat('misses', tonumber(ARGV[4]))
add_stat('expirations', expired)
add_stat('repaired', repaired)
remember(REPEATS, counted_at, ARGV[1], ARGV[2], '1')
return 1
