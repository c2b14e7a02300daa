-- Stores entries: the common part of put.lua and incr.lua.
-- Needs: ARGV[1], ARGV[2], ARGV[4], ARGV[5], CHUNK, CONFIG, COUNTS, EVICTION, EXPIRY, GENERATIONS, HEADER,
--   REPEATS, SEQUENCE, SIZES, STATS, TAGGED, adaptive_order, add_stat, assert_types, began, config, expiry_after,
--   first_score, has_equal_value, has_other_config, has_several_shards, has_tagged, has_value, integer, is_held_by,
--   is_outdated, is_verified, lease_of, max_bytes, max_size, members_of, next_sequence, next_victim, publish_writes,
--   purge_expired, remember, remove, reset_adaptive, set_config, set_size, untag, value_of, void_lease, written
local tags = ARGV[4]
local condition, rest = string.match(ARGV[5], '^(%S*) ?(.*)$')
local FIRST = 6
local now = began

local expiries, counts = assert_types()
for at = FIRST, #ARGV, 3 do
  has_value(ARGV[at])
end
local tag_names = tags ~= '' and cjson.decode(tags) or {}
for _, tag in ipairs(tag_names) do
  redis.call('SCARD', members_of(tag))
end
if has_other_config(config) then return 'config ' .. CONFIG end
if not CONFIG and has_several_shards(config) and is_verified == '0' then return 'verify' end

local function answer(stored, has_more_due)
  local reply = stored .. ' ' .. (has_more_due and '1' or '0')
  remember(REPEATS, now, ARGV[1], ARGV[2], reply)
  return reply
end

local function refuse()
  remember(REPEATS, now, ARGV[1], ARGV[2], 'refused')
  return 'refused'
end

if condition == 'lease' then
  local token, cleared, invalidated = string.match(rest, '^(%S+) (%S+) (%S+)$')
  if is_outdated(ARGV[FIRST], tag_names, token, cleared, invalidated) then
    if is_held_by(redis.call('GET', lease_of(ARGV[FIRST])), token) then redis.call('DEL', lease_of(ARGV[FIRST])) end
    return refuse()
  end
elseif (condition == 'absent' and has_value(ARGV[FIRST]))
  or (condition == 'equal' and not has_equal_value(ARGV[FIRST], rest)) then
  return refuse()
end
if not SEQUENCE then
  -- Starts at the time, so that entries which outlive a lost sequence are older than new ones.
  redis.call('HSET', STATS, 'sequence', now % GENERATIONS)
end
if CONFIG ~= config then
  set_config(config)
  redis.call('HSET', STATS, 'config', config, 'bytes', 0)
  redis.call('DEL', SIZES)
  reset_adaptive()
end

local purged = purge_expired(now)
local has_more_due = purged == CHUNK
local live = has_more_due and redis.call('ZCOUNT', EXPIRY, now, '+inf') or expiries - purged
local removed = {live = 0, expired = 0, lost = 0, none = 0}
local evictions = 0
if EVICTION == 'adaptive' then
  adaptive_order().set_capacity(max_bytes > 0 and math.min(max_size, math.max(live, 1)) or max_size)
end

local function remove_entry(key)
  local was = remove(key, now)
  removed[was] = removed[was] + 1
  if was == 'live' or was == 'lost' then live = live - 1 end
end

local function next_expired()
  return has_more_due and redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', '(' .. integer(now), 'LIMIT', 0, 1)[1]
end

local function is_over(key, bytes)
  if max_bytes == 0 then return false end
  local others = redis.call('HGET', STATS, 'bytes') - (redis.call('HGET', SIZES, key) or 0)
  return others + bytes > max_bytes
end

local function make_space(key, bytes)
  local expiry = tonumber(redis.call('ZSCORE', EXPIRY, key))
  local is_new = not expiry or expiry < now
  if is_new and expiry then remove_entry(key) end
  local max_promotions = 2
  if is_new and EVICTION == 'adaptive' then adaptive_order().on_ghost_hit(key) end
  while (is_new and live >= max_size) or is_over(key, bytes) do
    if evictions >= CHUNK then return false end
    evictions = evictions + 1
    local evicted = next_expired() or next_victim(key, counts >= expiries)
    if not evicted then break end
    remove_entry(evicted)
    max_promotions = 1
  end
  if is_new and EVICTION == 'adaptive' then adaptive_order().shrink_window(max_promotions) end
  if is_new then live = live + 1 end
  return true
end

local function store(key, ttl_ms, body)
  local sequence = next_sequence()
  local expiry = expiry_after(now, ttl_ms)
  local header = string.format('%010.0f%013.0f', sequence % GENERATIONS, now)
  if ttl_ms == 0 then
    redis.call('SET', value_of(key), header .. body)
  else
    redis.call('SET', value_of(key), header .. body, 'PXAT', expiry)
  end
  redis.call('ZADD', EXPIRY, expiry, key)
  redis.call('ZADD', COUNTS, first_score(key, sequence), key)
  set_size(key, #key + #header + #body)
  written[#written + 1] = key
  untag(key)
  if tags == '' then return end
  redis.call('HSET', TAGGED, key, tags)
  has_tagged = true
  for _, tag in ipairs(tag_names) do
    redis.call('SADD', members_of(tag), key)
  end
end

local stored = 0
for at = FIRST, #ARGV, 3 do
  local key, body = ARGV[at], ARGV[at + 2]
  if not make_space(key, #key + HEADER + #body) then break end
  store(key, tonumber(ARGV[at + 1]), body)
  if condition == 'lease' then redis.call('DEL', lease_of(key)) else void_lease(key) end
  stored = stored + 1
end
add_stat('evictions', removed.live)
add_stat('expirations', removed.expired)
add_stat('repaired', removed.lost)
publish_writes(now)
return answer(stored, has_more_due)
