-- Store entries, evicting where the cache is full: expired ones first, then the least accessed,
-- the oldest where counts tie.
-- KEYS[1] expiry  zset    entry key -> expiry
-- KEYS[2] counts  zset    entry key -> count and generation
-- KEYS[3] stats   hash    statistics and the sequence
-- KEYS[4] room    prefix  of every other key
-- ARGV[1] max_size  integer
-- ARGV[2] ttl_ms    integer
-- ARGV[3] tags      JSON array of names, the empty string for none
-- ARGV[4] token     of the lease under which the one value was computed, else the empty string
-- ARGV[5] epoch     when that lease was taken
-- ARGV[6] eviction  who goes first
-- ARGV[7..] entries  each a key and an encoded value
-- Reply: two integers: entries done with, in their order (all, unless room for the next could not be
--   made within the bound of one call: then the rest is sent again), and 1 where rows are still due;
--   or the eviction that the entries there are ordered by, where it is another
-- Invariant: live entries never exceed max_size; no entry in the index without its value
-- Repeat: idempotent: it stores the same values again, which evicts nothing
-- include: clock
-- include: index
-- include: leases
local max_size, ttl_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local tags, token = ARGV[3], ARGV[4]
local FIRST = 7
local now = now_ms()

assert_types()
for at = FIRST, #ARGV, 2 do
  has_value(ARGV[at])
end
for _, tag in ipairs(tags ~= '' and cjson.decode(tags) or {}) do
  redis.call('SCARD', members_of(tag))
end

if EVICTION and EVICTION ~= ARGV[6] and redis.call('ZCARD', COUNTS) > 0 then return EVICTION end

-- What was computed under a lease is stored if the lease still stands, or has run out with nothing
-- put in its place and nothing cleared away.
local function is_out_of_date(key)
  local lease = redis.call('GET', lease_of(key))
  if epoch(tags ~= '') ~= ARGV[5] then return true end
  if lease then return lease ~= token end
  return has_value(key)
end

if token ~= '' and is_out_of_date(ARGV[FIRST]) then
  if redis.call('GET', lease_of(ARGV[FIRST])) == token then redis.call('DEL', lease_of(ARGV[FIRST])) end
  return {1, 0}
end
local has_sequence = redis.call('HEXISTS', STATS, 'sequence') == 1
if EVICTION ~= ARGV[6] then
  EVICTION = ARGV[6]
  redis.call('HSET', STATS, 'eviction', EVICTION)
end

local due = sweep(now)
local live = redis.call('ZCOUNT', EXPIRY, integer(now), '+inf')
local seen = {live = 0, expired = 0, lost = 0, none = 0}
local pops = 0
if not has_sequence then
  -- Begins at the time, so that entries which outlive a lost sequence stay older than new ones.
  redis.call('HSET', STATS, 'sequence', integer(now % GENERATIONS))
end

local function take_out(key)
  local was = remove(key, now)
  seen[was] = seen[was] + 1
  if was == 'live' or was == 'lost' then live = live - 1 end
end

-- The least accessed; after a loss of counts the soonest to expire, or what has none would stay.
local function evict_one()
  local index = redis.call('ZCARD', COUNTS) < redis.call('ZCARD', EXPIRY) and EXPIRY or COUNTS
  pops = pops + 1
  take_out(redis.call('ZRANGE', index, 0, 0)[1])
end

local function make_room(key)
  local expiry = redis.call('ZSCORE', EXPIRY, key)
  if expiry and tonumber(expiry) >= now then return true end
  if expiry then take_out(key) end
  while live >= max_size do
    if pops >= CHUNK then return false end
    evict_one()
  end
  live = live + 1
  return true
end

local function store(key, body)
  local sequence = next_sequence()
  local expiry = integer(now + ttl_ms)
  local header = string.format('%010.0f%013.0f', sequence % GENERATIONS, now)
  redis.call('SET', value_of(key), header .. body, 'PXAT', expiry)
  redis.call('ZADD', EXPIRY, expiry, key)
  redis.call('ZADD', COUNTS, integer(first_score(sequence)), key)
  untag(key)
  if tags == '' then return end
  redis.call('HSET', TAGGED, key, tags)
  has_tagged = true
  for _, tag in ipairs(cjson.decode(tags)) do
    redis.call('SADD', members_of(tag), key)
  end
end

local stored = 0
for at = FIRST, #ARGV, 2 do
  if not make_room(ARGV[at]) then break end
  store(ARGV[at], ARGV[at + 1])
  if token == '' then void_lease(ARGV[at]) else redis.call('DEL', lease_of(ARGV[at])) end
  stored = stored + 1
end
tally('evictions', seen.live)
tally('expirations', seen.expired)
tally('healed', seen.lost)
return {stored, due == CHUNK and 1 or 0}
