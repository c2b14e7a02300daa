-- The index: every entry has a row in EXPIRY and one in COUNTS, under the entry's own key.
-- A value may be gone before its rows are (Redis expired or evicted it). Where a whole index was
-- lost, EXPIRY decides: what is not in it goes, what is only in it is counted from zero again.
-- Needs: KEYS[1]
local ROOM = KEYS[1]
local EXPIRY, COUNTS, STATS, REPEATS = ROOM .. ':expiry', ROOM .. ':counts', ROOM .. ':stats', ROOM .. ':repeats'
local TAGGED, SIZES = ROOM .. ':tagged', ROOM .. ':sizes'
local GENERATIONS = 8589934592
local CHUNK = 300
local HEADER = 23 -- bytes of a value before what was put

local function integer(number)
  return string.format('%.0f', number)
end

local function value_of(key)
  return ROOM .. ':v:' .. key
end

local function members_of(tag)
  return ROOM .. ':tag:' .. tag
end

-- Read first, with a type check of their keys. The layout begins with who goes first, and says
-- whether bytes are counted.
local LAYOUT, ANNOUNCE, SEQUENCE = unpack(redis.call('HMGET', STATS, 'layout', 'announce', 'sequence'))
local has_tagged = redis.call('HLEN', TAGGED) > 0
local EVICTION, COUNTS_BYTES

local function lay_out(layout)
  LAYOUT = layout
  EVICTION = layout and string.match(layout, '^%S+')
  COUNTS_BYTES = layout and string.find(layout, ' bytes', 1, true) ~= nil
end
lay_out(LAYOUT)

local function is_one_of_several(layout)
  return string.find(layout, ' shards=', 1, true) ~= nil
end

-- Whether there are entries under another layout. Those of a cache of several shards may lie elsewhere.
local function is_laid_out_otherwise(layout)
  if not LAYOUT or LAYOUT == layout then return false end
  return redis.call('ZCARD', COUNTS) > 0 or is_one_of_several(LAYOUT)
end

-- Fails with WRONGTYPE where one of the other keys is not ours, while nothing has been written yet. Returns
-- how many rows either has.
local function assert_types()
  return redis.call('ZCARD', EXPIRY), redis.call('ZCARD', COUNTS)
end

-- Fails with WRONGTYPE where the entry is not a string; else whether it has a value.
local function has_value(key)
  return redis.call('STRLEN', value_of(key)) > 0
end

local function tally(field, by)
  if by ~= 0 then redis.call('HINCRBY', STATS, field, integer(by)) end
end

-- Entries that are written or go, to be told to those who hold copies and cannot track them.
local written = {}

local function tell(now)
  if #written > 0 and ANNOUNCE and tonumber(ANNOUNCE) > now then
    -- Not for every user: what was written stands all the same, and who listens holds it no longer than its ttl.
    redis.pcall('PUBLISH', ROOM .. ':written', cjson.encode(written))
  end
end

local function set_size(key, bytes)
  if not COUNTS_BYTES then return end
  local before = tonumber(redis.call('HGET', SIZES, key) or '0')
  if bytes > 0 then redis.call('HSET', SIZES, key, bytes) else redis.call('HDEL', SIZES, key) end
  tally('bytes', bytes - before)
end

local function untag(key)
  local tags = has_tagged and redis.call('HGET', TAGGED, key)
  if not tags then return end
  redis.call('HDEL', TAGGED, key)
  for _, tag in ipairs(cjson.decode(tags)) do
    redis.pcall('SREM', members_of(tag), key) -- a set that is not ours holds none of our keys
  end
end

-- Removes an entry from everywhere. Returns what it was: 'live', 'expired', 'lost' (its value was
-- gone before its time) or 'none'.
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

-- Removes the rows of up to CHUNK entries whose time has come; returns how many.
local function sweep(now)
  local due = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', '(' .. integer(now), 'LIMIT', 0, CHUNK)
  if #due == 0 then return 0 end
  for _, key in ipairs(due) do
    untag(key)
    set_size(key, 0)
    redis.call('DEL', value_of(key))
  end
  redis.call('ZREM', EXPIRY, unpack(due))
  redis.call('ZREM', COUNTS, unpack(due))
  tally('expirations', #due)
  return #due
end
