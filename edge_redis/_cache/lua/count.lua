-- Take in a batch of accesses that a process has buffered.
-- KEYS[1] room  prefix  of every key of the shard (see keys.py)
-- ARGV[1] slot    the buffer's slot
-- ARGV[2] number  the batch's number
-- ARGV[3] hits    integer, all of the batch
-- ARGV[4] misses  integer, all of the batch
-- ARGV[5] hit     JSON array: entry key, generation and hits of each that was read
-- ARGV[6] missed  JSON array: entry keys
-- Reply: integer, 1
-- Invariant: no entry in the index without its value, and no value without its rows
-- Layout: not created, since it only changes what is there
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

-- A count for an entry that was replaced or deleted since changes nothing. A value that has no
-- rows would be under no bound: it goes.
local function add(key, generation, hits)
  local score = tonumber(redis.call('ZSCORE', COUNTS, key))
  if score and is_of(key, score, generation) then
    redis.call('ZADD', COUNTS, integer(score_after(score, hits)), key)
    return 0
  end
  if score or redis.call('EXISTS', value_of(key)) == 0 then return 0 end
  if redis.call('ZSCORE', EXPIRY, key) then
    adopt(key)
    return 0
  end
  remove(key, now)
  return 1
end

local healed = 0
for at = 1, #hit, 3 do
  healed = healed + add(hit[at], hit[at + 1], hit[at + 2])
end
local expired = 0
for _, key in ipairs(missed) do
  if redis.call('ZSCORE', EXPIRY, key) and redis.call('EXISTS', value_of(key)) == 0 then
    local was = remove(key, now)
    if was == 'expired' then expired = expired + 1 else healed = healed + 1 end
  end
end
tally('hits', tonumber(ARGV[3]))
tally('misses', tonumber(ARGV[4]))
tally('expirations', expired)
tally('healed', healed)
remember(REPEATS, now, ARGV[1], ARGV[2], '1')
return 1
