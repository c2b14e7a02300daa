-- The index: every entry has a row in EXPIRY and one in COUNTS, under the entry's own key.
-- A value may be gone before its rows are (Redis expired or evicted it). Where a whole index was
-- lost, EXPIRY decides: what is not in it goes, what is only in it is counted from zero again.
local EXPIRY, COUNTS, STATS, ROOM = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local TAGGED = ROOM .. ':tagged'
local GENERATIONS = 8589934592
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

-- Both are read first, with a type check of their keys.
local EVICTION = redis.call('HGET', STATS, 'eviction')
local has_tagged = redis.call('HLEN', TAGGED) > 0

-- Fails with WRONGTYPE where one of the other keys is not ours, while nothing has been written yet.
local function assert_types()
  redis.call('ZCARD', EXPIRY)
  redis.call('ZCARD', COUNTS)
end

-- Fails with WRONGTYPE where the entry is not a string; else whether it has a value.
local function has_value(key)
  return redis.call('STRLEN', value_of(key)) > 0
end

local function tally(field, by)
  if by ~= 0 then redis.call('HINCRBY', STATS, field, integer(by)) end
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
  redis.call('ZREM', EXPIRY, key)
  redis.call('ZREM', COUNTS, key)
  local had_value = redis.call('DEL', value_of(key)) == 1
  if not expiry then return 'none' end
  local due = tonumber(expiry)
  if due < now or (due == now and not had_value) then return 'expired' end
  return had_value and 'live' or 'lost'
end

-- The order of eviction is that of the scores in COUNTS, each a whole number under 2^53:
--   least_accessed  count * 2^33 + generation: ties go oldest first; counts stop at 2^20 - 1
--   lru             recency * 2^17 + count: the sequence at the last access; counts stop at 2^17 - 1
-- The first put into an empty cache says which.
local RECENCIES, LRU_COUNTS = 68719476736, 131072

local function next_sequence()
  return redis.call('HINCRBY', STATS, 'sequence', 1)
end

local function first_score(sequence)
  if EVICTION == 'lru' then return sequence % RECENCIES * LRU_COUNTS end
  return sequence % GENERATIONS
end

local function count_of(score)
  if EVICTION == 'lru' then return score % LRU_COUNTS end
  return math.floor(score / GENERATIONS)
end

local function score_after(score, hits)
  local count = count_of(score) + hits
  if EVICTION == 'lru' then
    return first_score(next_sequence()) + math.min(count, LRU_COUNTS - 1)
  end
  return math.min(count, 1048575) * GENERATIONS + score % GENERATIONS
end

-- The generation of the entry that has this value, nil where it is no value of ours.
local function generation_of(key)
  local head = redis.pcall('GETRANGE', value_of(key), 0, 9)
  return type(head) == 'string' and tonumber(string.match(head, '^%d+$')) or nil
end

-- Whether the row is that of the entry which a late count was noted for.
local function is_of(key, score, generation)
  if EVICTION == 'lru' then return generation_of(key) == generation end
  return score % GENERATIONS == generation
end

-- Counts from zero an entry that has a value and a row in EXPIRY alone.
local function adopt(key)
  redis.call('ZADD', COUNTS, integer(first_score(generation_of(key) or 0)), key)
end

-- Removes the rows of up to CHUNK entries whose time has come; returns how many.
local function sweep(now)
  local due = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', '(' .. integer(now), 'LIMIT', 0, CHUNK)
  if #due == 0 then return 0 end
  for _, key in ipairs(due) do
    untag(key)
    redis.call('DEL', value_of(key))
  end
  redis.call('ZREM', EXPIRY, unpack(due))
  redis.call('ZREM', COUNTS, unpack(due))
  tally('expirations', #due)
  return #due
end
