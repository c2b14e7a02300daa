-- The index: every entry has a row in EXPIRY and one in COUNTS, under the entry's own key.
-- A value may disappear before its rows (Redis expired or evicted it). Where a whole index was lost,
-- EXPIRY decides: an entry without a row in it is removed, one without a row in COUNTS counts from zero.
-- Needs: KEYS[1]
local PREFIX = KEYS[1]
local EXPIRY, COUNTS, STATS, REPEATS = PREFIX .. ':expiry', PREFIX .. ':counts', PREFIX .. ':stats', PREFIX .. ':repeats'
local TAGGED, SIZES = PREFIX .. ':tagged', PREFIX .. ':sizes'
local GENERATIONS = 8589934592
local CHUNK = 300
local HEADER, COMPUTED = 23, 11 -- bytes before an encoded value, and between them if it was computed
local NEVER = 9007199254740991 -- the expiry of an entry without a TTL

-- For text alone: redis.call takes whole numbers below 10^17 exactly, and Valkey converts them many times faster.
local function integer(number)
  return string.format('%.0f', number)
end

local function value_of(key)
  return PREFIX .. ':v:' .. key
end

local function members_of(tag)
  return PREFIX .. ':tag:' .. tag
end

-- Read first, with a type check of their keys. The fingerprint of the shared options begins with the
-- eviction, and says whether bytes are counted.
local CONFIG, ANNOUNCE_UNTIL, SEQUENCE = unpack(redis.call('HMGET', STATS, 'config', 'announce_until', 'sequence'))
local EVICTION, COUNTS_BYTES, has_tagged

local function set_config(options)
  CONFIG = options
  EVICTION = options and string.match(options, '^%S+')
  COUNTS_BYTES = options and string.find(options, ' bytes', 1, true) ~= nil
end
set_config(CONFIG)

local function has_several_shards(options)
  return string.find(options, ' shards=', 1, true) ~= nil
end

-- Whether there are entries under other options. Those of a cache of several shards may be in other shards.
local function has_other_config(options)
  if not CONFIG or CONFIG == options then return false end
  return redis.call('ZCARD', COUNTS) > 0 or has_several_shards(CONFIG)
end

-- Fails with WRONGTYPE where an index is of another type, before anything is written. Returns the number of
-- rows of EXPIRY and of COUNTS.
local function assert_types()
  has_tagged = redis.call('HLEN', TAGGED) > 0
  return redis.call('ZCARD', EXPIRY), redis.call('ZCARD', COUNTS)
end

-- The expiry of an entry that lives for so many milliseconds, 0 for ever.
local function expiry_after(now, ttl_ms)
  return ttl_ms == 0 and NEVER or now + ttl_ms
end

-- Whether the entry has a value; fails with WRONGTYPE where it is not a string.
local function has_value(key)
  return redis.call('STRLEN', value_of(key)) > 0
end

local function add_stat(field, by)
  if by ~= 0 then redis.call('HINCRBY', STATS, field, by) end
end

-- Keys that this call wrote or removed, to be published to near caches that the server does not notify.
local written = {}

local function publish_writes(now)
  if #written > 0 and ANNOUNCE_UNTIL and tonumber(ANNOUNCE_UNTIL) > now then
    -- Publishing may be forbidden to this user. The write stands: a near cache keeps an entry for its ttl at most.
    redis.pcall('PUBLISH', PREFIX .. ':written', cjson.encode(written))
  end
end

local function set_size(key, bytes)
  if not COUNTS_BYTES then return end
  local before = tonumber(redis.call('HGET', SIZES, key) or '0')
  if bytes > 0 then redis.call('HSET', SIZES, key, bytes) else redis.call('HDEL', SIZES, key) end
  add_stat('bytes', bytes - before)
end

local function untag(key)
  local text = has_tagged and redis.call('HGET', TAGGED, key)
  if not text then return end
  redis.call('HDEL', TAGGED, key)
  local is_valid, tags = pcall(cjson.decode, text)
  if not is_valid or type(tags) ~= 'table' then return end -- damaged, and removed
  for _, tag in ipairs(tags) do
    redis.pcall('SREM', members_of(tostring(tag)), key) -- a key of another type holds no tagged entries
  end
end

-- Removes an entry and its rows. Returns its state: 'live', 'expired', 'lost' (its value had disappeared
-- before its expiry) or 'none'.
local function remove(key, now)
  local expiry = redis.call('ZSCORE', EXPIRY, key)
  untag(key)
  set_size(key, 0)
  redis.call('ZREM', EXPIRY, key)
  redis.call('ZREM', COUNTS, key)
  local had_value = redis.call('DEL', value_of(key)) == 1
  if had_value then written[#written + 1] = key end
  if not expiry then return 'none' end
  local due = tonumber(expiry)
  if due < now or (due == now and not had_value) then return 'expired' end
  return had_value and 'live' or 'lost'
end

-- Removes up to CHUNK expired entries; returns how many.
local function purge_expired(now)
  local due = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', '(' .. integer(now), 'LIMIT', 0, CHUNK)
  if #due == 0 then return 0 end
  for _, key in ipairs(due) do
    untag(key)
    set_size(key, 0)
    redis.call('DEL', value_of(key))
  end
  redis.call('ZREM', EXPIRY, unpack(due))
  redis.call('ZREM', COUNTS, unpack(due))
  add_stat('expirations', #due)
  return #due
end
