-- Add a batch of invocations to their series, at most once.
-- KEYS[1] generation  string  the generation; absent means 0
-- KEYS[2] flushes     prefix  of the hashes that remember the last call of each writer
-- KEYS[3] root        prefix  of the generations' keys
-- ARGV[1] slot              string   the writer
-- ARGV[2] number            integer  of this call, rising by one
-- ARGV[3] expected          string   the generation that the batch began in; empty in its first call
-- ARGV[4] max_series        integer  pairs that get a series of their own
-- ARGV[5] max_recent        integer  records kept in the stream
-- ARGV[6] timeline_minutes  integer  how long minutes are kept
-- ARGV[7] overflow          integer  records that the process itself has put under `_other`
-- ARGV[8] parts             integer  how many there are
-- ARGV[9..] five to a part (function, node, sums, buckets, minutes: see delta.py), then two to a
--   chunk of recent records (their number, their bytes)
-- Reply: the generation that the batch belongs to, or STALE; or {'CORRUPT', key} where a field
--   is not a number, and then nothing was written
-- Invariant: all = the sum of the pairs = the sum of the functions = the sum of the nodes
-- Repeat: remembered by slot and number, for 12 hours at least
-- include: clock
-- include: repeats
-- include: numbers
-- include: series
REPEATS_BUCKET_MS = 43200000 -- a server may be away for longer than any caller of a single call waits
local HEAD, PART = 8, 5
local BLOCK = 256 -- of sketch.py
local MAX_REMOVED = 250
local AHEAD_MINUTES = 60 -- by which a writer's clock may be ahead

local function pair_name(func, node) -- as keys.py has it
  return #func .. ':' .. func .. node
end

local OTHER = pair_name('_other', '_other')
local slot, number, expected = ARGV[1], ARGV[2], ARGV[3]
local max_series, max_recent, timeline_minutes = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local parts = tonumber(ARGV[8])
local now = now_ms()
local now_minute = math.floor(now / 60000)

local known = recall(KEYS[2], now, slot, number)
if known then return known end
local root, generation = current_root(KEYS[1], KEYS[3])
if expected ~= '' and expected ~= generation then
  remember(KEYS[2], now, slot, number, expected) -- its other calls went with the reset
  return expected
end
local pairs_key, recent_key, meta_key = root .. ':pairs', root .. ':recent', root .. ':meta'

-- First everything is read and worked out, so that what cannot be done fails before any write.

local pair_count = redis.call('SCARD', pairs_key)
local room = max_series - pair_count + redis.call('SISMEMBER', pairs_key, OTHER)
local admitted, new_pairs = {}, {}

local function is_admitted(pair)
  if admitted[pair] == nil then
    local is_new = redis.call('SISMEMBER', pairs_key, pair) == 0
    admitted[pair] = not is_new or room > 0 or pair == OTHER
    if is_new and admitted[pair] then
      new_pairs[#new_pairs + 1] = pair
      if pair ~= OTHER then room = room - 1 end
    end
  end
  return admitted[pair]
end

local added, expiry = {}, {} -- key -> field -> number; key of a timeline -> when it goes

local function add(key, field, by)
  if by == 0 then return end
  local fields = added[key]
  if not fields then
    fields = {}
    added[key] = fields
  end
  fields[field] = (fields[field] or 0) + by
end

local function numbers_of(text)
  local found = {}
  for one in string.gmatch(text, '%S+') do found[#found + 1] = tonumber(one) end
  return found
end

local function add_sums(key, prefix, count, errors, slow, ms, ns)
  add(key, prefix .. 'n', count)
  add(key, prefix .. 'e', errors)
  add(key, prefix .. 'w', slow)
  add(key, prefix .. 'ms', ms)
  add(key, prefix .. 'ns', ns)
end

local function add_minutes(series, minutes)
  for at = 1, #minutes, 6 do
    local minute, count, errors, slow, ms, ns = unpack(minutes, at, at + 5)
    local age = now_minute - minute
    if age <= timeline_minutes and age >= -AHEAD_MINUTES then
      local hour = math.floor(minute / 60)
      local key = root .. ':t' .. whole(hour) .. ':' .. series
      add_sums(key, whole(minute - hour * 60), count, errors, slow, ms, ns)
      expiry[key] = ((hour + 1) * 60 + timeline_minutes) * 60
    end
  end
end

local function add_part(names, sums, buckets, minutes)
  local count = 0
  for at = 2, #buckets, 2 do count = count + buckets[at] end
  for _, series in ipairs(names) do
    add_sums(root .. ':s:' .. series, '', count, unpack(sums))
    for at = 1, #buckets, 2 do
      local key = root .. ':b' .. whole(math.floor(buckets[at] / BLOCK)) .. ':' .. series
      add(key, whole(buckets[at]), buckets[at + 1])
    end
    add_minutes(series, minutes)
  end
  return count
end

local overflow = tonumber(ARGV[7])
for part = 0, parts - 1 do
  local at = HEAD + part * PART
  local func, node = ARGV[at + 1], ARGV[at + 2]
  local buckets = numbers_of(ARGV[at + 4])
  local pair = pair_name(func, node)
  local goes_under_other = not is_admitted(pair)
  if goes_under_other then
    func, node, pair = '_other', '_other', OTHER
    is_admitted(OTHER)
  end
  local names = {'all', 'f:' .. func, 'n:' .. node, 'p:' .. pair}
  local count = add_part(names, numbers_of(ARGV[at + 3]), buckets, numbers_of(ARGV[at + 5]))
  if goes_under_other then overflow = overflow + count end
end
add(meta_key, 'overflow', overflow)
local recorded = 0
for at = HEAD + parts * PART + 1, #ARGV, 2 do recorded = recorded + tonumber(ARGV[at]) end
add(meta_key, 'recent', recorded)
redis.call('XLEN', recent_key) -- an error where it is no stream

local writes = {} -- of HSET: key, field, value, ...
for key, fields in pairs(added) do
  local names = {}
  for field in pairs(fields) do names[#names + 1] = field end
  local stored = redis.call('HMGET', key, unpack(names))
  local write = {key}
  for at, field in ipairs(names) do
    local old = stored[at] and tonumber(stored[at]) or 0
    if stored[at] and not string.find(stored[at], '^%-?%d+$') then return {'CORRUPT', key} end
    write[2 * at], write[2 * at + 1] = field, whole(old + fields[field])
  end
  writes[#writes + 1] = write
end

-- From here on nothing fails.

for _, write in ipairs(writes) do redis.call('HSET', unpack(write)) end
for key, at in pairs(expiry) do redis.call('EXPIREAT', key, whole(at)) end
for _, pair in ipairs(new_pairs) do redis.call('SADD', pairs_key, pair) end

for at = HEAD + parts * PART + 1, #ARGV, 2 do
  redis.call('XADD', recent_key, '*', 'c', ARGV[at], 'r', ARGV[at + 1])
end
if recorded > 0 then
  local kept = tonumber(redis.call('HGET', meta_key, 'recent'))
  for _ = 1, MAX_REMOVED do
    if kept <= max_recent then break end
    local oldest = redis.call('XRANGE', recent_key, '-', '+', 'COUNT', 1)[1]
    if not oldest then break end
    local count = tonumber(oldest[2][2]) or 0
    if kept - count < max_recent then break end
    redis.call('XDEL', recent_key, oldest[1])
    redis.call('HINCRBY', meta_key, 'recent', -count)
    kept = kept - count
  end
end

remember(KEYS[2], now, slot, number, generation)
return generation
