-- The index: every entry has a row in EXPIRY and one in COUNTS, under the entry's own key.
-- A value may be gone before its rows are (Redis expired or evicted it). Where a whole index was
-- lost, EXPIRY decides: what is not in it goes, what is only in it is counted from zero again.
local EXPIRY, COUNTS, STATS, ROOM = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local TAGGED = ROOM .. ':tagged'
local GENERATIONS = 8589934592
local MAX_COUNT = 1048575
local CHUNK = 300

local function integer(number)
  return string.format('%.0f', number)
end

local function value_of(key)
  return ROOM .. ':v:' .. key
end

local function members_of(tag)
  return ROOM .. ':tag:' .. tag
end

-- Fails with WRONGTYPE where one of the keys is not ours, while nothing has been written yet.
local function assert_types()
  redis.call('ZCARD', EXPIRY)
  redis.call('ZCARD', COUNTS)
  redis.call('HLEN', STATS)
  redis.call('HLEN', TAGGED)
end

-- Fails with WRONGTYPE where the entry is not a string; else whether it has a value.
local function has_value(key)
  return redis.call('STRLEN', value_of(key)) > 0
end

local function tally(field, by)
  if by ~= 0 then redis.call('HINCRBY', STATS, field, integer(by)) end
end

local function untag(key)
  local tags = redis.call('HGET', TAGGED, key)
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
  redis.call('ZREM', EXPIRY, key)
  redis.call('ZREM', COUNTS, key)
  local had_value = redis.call('DEL', value_of(key)) == 1
  if not expiry then return 'none' end
  local due = tonumber(expiry)
  if due < now or (due == now and not had_value) then return 'expired' end
  return had_value and 'live' or 'lost'
end

-- Counts from zero an entry that has a value and a row in EXPIRY alone.
local function adopt(key)
  local generation = tonumber(string.match(redis.call('GETRANGE', value_of(key), 0, 9), '^%d+$')) or 0
  redis.call('ZADD', COUNTS, integer(generation), key)
end

-- Removes the rows of up to CHUNK entries whose time has come; returns how many.
local function sweep(now)
  local due = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', '(' .. integer(now), 'LIMIT', 0, CHUNK)
  if #due == 0 then return 0 end
  local tagged = redis.call('HLEN', TAGGED) > 0
  for _, key in ipairs(due) do
    if tagged then untag(key) end
    redis.call('DEL', value_of(key))
  end
  redis.call('ZREM', EXPIRY, unpack(due))
  redis.call('ZREM', COUNTS, unpack(due))
  tally('expirations', #due)
  return #due
end
