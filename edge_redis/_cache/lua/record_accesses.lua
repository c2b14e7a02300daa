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
-- include: index
-- include: adaptive
-- include: order
local now = now_ms()
local hit, missed = cjson.decode(ARGV[5]), cjson.decode(ARGV[6])

if recall(REPEATS, now, ARGV[1], ARGV[2]) then return 1 end
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
  remove(key, now)
  return 1
end

local repaired = 0
for at = 1, #hit, 3 do
  repaired = repaired + add(hit[at], hit[at + 1], hit[at + 2])
end
local expired = 0
for _, key in ipairs(missed) do
  if redis.call('ZSCORE', EXPIRY, key) and redis.call('EXISTS', value_of(key)) == 0 then
    local was = remove(key, now)
    if was == 'expired' then expired = expired + 1 else repaired = repaired + 1 end
  end
end
add_stat('hits', tonumber(ARGV[3]))
add_stat('misses', tonumber(ARGV[4]))
add_stat('expirations', expired)
add_stat('repaired', repaired)
remember(REPEATS, now, ARGV[1], ARGV[2], '1')
return 1
