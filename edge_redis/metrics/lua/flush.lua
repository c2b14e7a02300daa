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
-- ARGV[9..] five to a part (function, node, sums, groups, minutes: see delta.py), then two to a
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
local GROUP = 4 -- of sketch.py
local SUMS = {'n', 'e', 'w', 'ms', 'ns'}
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

-- First everything is added up and read, so that what cannot be done fails before any write.

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

-- What is added, by series: its sums, its groups of buckets and its minutes, both by number.
local all_series = {}

local function series_of(name)
  local series = all_series[name]
  if not series then
    series = {sums = {0, 0, 0, 0, 0}, groups = {}, minutes = {}}
    all_series[name] = series
  end
  return series
end

local function numbers_of(text)
  local found = {}
  for one in string.gmatch(text, '%S+') do found[#found + 1] = tonumber(one) end
  return found
end

local function add_sums(to, count, errors, slow, ms, ns)
  to[1], to[2], to[3], to[4], to[5] = to[1] + count, to[2] + errors, to[3] + slow, to[4] + ms, to[5] + ns
end

local function add_minutes(series, minutes)
  for at = 1, #minutes, 6 do
    local minute = minutes[at]
    local age = now_minute - minute
    if age <= timeline_minutes and age >= -AHEAD_MINUTES then
      local cell = series.minutes[minute]
      if not cell then
        cell = {0, 0, 0, 0, 0}
        series.minutes[minute] = cell
      end
      add_sums(cell, unpack(minutes, at + 1, at + 5))
    end
  end
end

local function add_groups(to, groups)
  for at = 1, #groups, GROUP + 1 do
    local counts = to[groups[at]]
    if counts then
      for place = 1, GROUP do counts[place] = counts[place] + groups[at + place] end
    else
      to[groups[at]] = {unpack(groups, at + 1, at + GROUP)}
    end
  end
end

local function add_part(names, sums, groups, minutes)
  local count = 0
  for at = 1, #groups, GROUP + 1 do
    for place = 1, GROUP do count = count + groups[at + place] end
  end
  for _, name in ipairs(names) do
    local series = series_of(name)
    add_sums(series.sums, count, unpack(sums))
    add_groups(series.groups, groups)
    add_minutes(series, minutes)
  end
  return count
end

local overflow = tonumber(ARGV[7])
for part = 0, parts - 1 do
  local at = HEAD + part * PART
  local func, node = ARGV[at + 1], ARGV[at + 2]
  local groups = numbers_of(ARGV[at + 4])
  local pair = pair_name(func, node)
  local goes_under_other = not is_admitted(pair)
  if goes_under_other then
    func, node, pair = '_other', '_other', OTHER
    is_admitted(OTHER)
  end
  local names = {'all', 'f:' .. func, 'n:' .. node, 'p:' .. pair}
  local count = add_part(names, numbers_of(ARGV[at + 3]), groups, numbers_of(ARGV[at + 5]))
  if goes_under_other then overflow = overflow + count end
end
local recorded = 0
for at = HEAD + parts * PART + 1, #ARGV, 2 do recorded = recorded + tonumber(ARGV[at]) end
redis.call('XLEN', recent_key) -- an error where it is no stream

-- Then what is stored is read, one call a key, and the new values are worked out.

local writes, expiry = {}, {} -- of HSET: key, field, value, ...; key of a timeline -> when it goes
local corrupt

local function add_number(write, field, stored, by)
  if stored and not string.find(stored, '^%-?%d+$') then corrupt = write[1] end
  write[#write + 1], write[#write + 2] = field, whole((tonumber(stored or 0) or 0) + by)
end

local function add_group(write, field, stored, by)
  local sum = by
  if stored then
    local a, b, c, d = string.match(stored, '^(%d+) (%d+) (%d+) (%d+)$')
    if a then sum = {a + by[1], b + by[2], c + by[3], d + by[4]} else corrupt = write[1] end
  end
  write[#write + 1] = field
  write[#write + 1] = string.format('%d %d %d %d', sum[1], sum[2], sum[3], sum[4]) -- half the time of %.0f
end

-- Fields of numbers first, then groups of buckets.
local function prepare(key, names, by, numbers)
  if #names == 0 then return end
  local stored = redis.call('HMGET', key, unpack(names))
  local write = {key}
  for at = 1, numbers do add_number(write, names[at], stored[at], by[at]) end
  for at = numbers + 1, #names do add_group(write, names[at], stored[at], by[at]) end
  writes[#writes + 1] = write
end

local function sums_to_add(prefix, sums, names, by)
  for at, field in ipairs(SUMS) do
    if sums[at] ~= 0 then names[#names + 1], by[#by + 1] = prefix .. field, sums[at] end
  end
end

local group_names = {} -- a call names few groups, each many times

local function group_name(group)
  local name = group_names[group]
  if not name then
    name = whole(group)
    group_names[group] = name
  end
  return name
end

local function groups_to_add(groups, names, by)
  for group, counts in pairs(groups) do
    names[#names + 1], by[#by + 1] = group_name(group), counts
  end
end

local function prepare_series(name, series)
  local names, by = {}, {}
  sums_to_add('', series.sums, names, by)
  local numbers = #names
  groups_to_add(series.groups, names, by)
  prepare(root .. ':s:' .. name, names, by, numbers)
end

local function prepare_minutes(name, minutes)
  local hours = {}
  for minute, cell in pairs(minutes) do
    local hour = math.floor(minute / 60)
    hours[hour] = hours[hour] or {names = {}, by = {}}
    sums_to_add(whole(minute - hour * 60), cell, hours[hour].names, hours[hour].by)
  end
  for hour, fields in pairs(hours) do
    local key = root .. ':t' .. whole(hour) .. ':' .. name
    prepare(key, fields.names, fields.by, #fields.names)
    expiry[key] = ((hour + 1) * 60 + timeline_minutes) * 60
  end
end

for name, series in pairs(all_series) do
  prepare_series(name, series)
  prepare_minutes(name, series.minutes)
end
prepare(meta_key, {'overflow', 'recent'}, {overflow, recorded}, 2)
if corrupt then return {'CORRUPT', corrupt} end

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
