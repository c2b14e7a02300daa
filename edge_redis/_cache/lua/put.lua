-- Store entries, evicting where the cache is full: expired entries first, then by the eviction order.
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the call
-- ARGV[2] sequence   integer  of the call
-- ARGV[3] bounds     string   three integers: max_size, max_bytes (0 for no such bound), and 1 where the config
--   shard has verified the options; then the fingerprint of the options that all caches of the namespace share
-- ARGV[4] tags       string   JSON array of names, the empty string for none
-- ARGV[5] lease      string   token and epoch of the lease under which the one value was computed; else empty
-- ARGV[6..] entries  string   for each entry its key, TTL in ms and encoded value
-- Reply: string: two integers: entries stored, in their order (fewer than all where making space for the next
--   exceeded the bound of one call: the caller sends the rest again), and 1 where expired rows are left; or
--   "config" and the fingerprint under which entries exist; or "verify" where the config shard must be asked
-- Invariant: live entries never exceed max_size, nor their bytes max_bytes; no entry in the index
--   without its value
-- Repeat: remembered: a put of another client in between must not be undone
-- include: clock
-- include: idempotency
-- include: put_single
-- include: index
-- include: adaptive
-- include: order
-- include: leases
local tags = ARGV[4]
local token, began_in = string.match(ARGV[5], '^(%S*) ?(.*)$')
local FIRST = 6
local now = began

local expiries, counts = assert_types()
for at = FIRST, #ARGV, 3 do
  has_value(ARGV[at])
end
for _, tag in ipairs(tags ~= '' and cjson.decode(tags) or {}) do
  redis.call('SCARD', members_of(tag))
end
if has_other_config(config) then return 'config ' .. CONFIG end
if not CONFIG and has_several_shards(config) and is_verified == '0' then return 'verify' end

local function answer(stored, has_more_due)
  local reply = stored .. ' ' .. (has_more_due and '1' or '0')
  remember(REPEATS, now, ARGV[1], ARGV[2], reply)
  return reply
end

-- A computed value is stored if its lease is valid, or has expired while nothing was put in its place and
-- nothing was cleared.
local function is_outdated(key)
  local lease = redis.call('GET', lease_of(key))
  if epoch(tags ~= '') ~= began_in then return true end
  if lease then return lease ~= token end
  return has_value(key)
end

if token ~= '' and is_outdated(ARGV[FIRST]) then
  if redis.call('GET', lease_of(ARGV[FIRST])) == token then redis.call('DEL', lease_of(ARGV[FIRST])) end
  return answer(1, false)
end
if not SEQUENCE then
  -- Starts at the time, so that entries which outlive a lost sequence are older than new ones.
  redis.call('HSET', STATS, 'sequence', integer(now % GENERATIONS))
end
if CONFIG ~= config then
  set_config(config)
  redis.call('HSET', STATS, 'config', config, 'bytes', 0)
  redis.call('DEL', SIZES)
  reset_adaptive()
end

local purged = purge_expired(now)
local has_more_due = purged == CHUNK
local live = has_more_due and redis.call('ZCOUNT', EXPIRY, integer(now), '+inf') or expiries - purged
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
  local expiry = integer(now + ttl_ms)
  local header = string.format('%010.0f%013.0f', sequence % GENERATIONS, now)
  redis.call('SET', value_of(key), header .. body, 'PXAT', expiry)
  redis.call('ZADD', EXPIRY, expiry, key)
  redis.call('ZADD', COUNTS, integer(first_score(key, sequence)), key)
  set_size(key, #key + #header + #body)
  written[#written + 1] = key
  untag(key)
  if tags == '' then return end
  redis.call('HSET', TAGGED, key, tags)
  has_tagged = true
  for _, tag in ipairs(cjson.decode(tags)) do
    redis.call('SADD', members_of(tag), key)
  end
end

local stored = 0
for at = FIRST, #ARGV, 3 do
  local key, body = ARGV[at], ARGV[at + 2]
  if not make_space(key, #key + HEADER + #body) then break end
  store(key, tonumber(ARGV[at + 1]), body)
  if token == '' then void_lease(key) else redis.call('DEL', lease_of(key)) end
  stored = stored + 1
end
add_stat('evictions', removed.live)
add_stat('expirations', removed.expired)
add_stat('repaired', removed.lost)
publish_writes(now)
return answer(stored, has_more_due)
