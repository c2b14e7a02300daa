-- The order of eviction is that of the scores in COUNTS, each a whole number under 2^53:
--   least_accessed  count * 2^33 + generation: ties go oldest first; counts stop at 2^20 - 1
--   lru             recency * 2^17 + count: the sequence at the last access; counts stop at 2^17 - 1
--   adaptive        band * 2^51 + recency * 2^16 + count (see adaptive.lua); counts stop at 2^16 - 1
-- The first put into an empty cache says which.
-- Needs: ADAPTIVE_COUNTS, COUNTS, EVICTION, EXPIRY, GENERATIONS, STATS, adaptive_order, integer, value_of
local RECENCIES, LRU_COUNTS = 68719476736, 131072

local function next_sequence()
  return redis.call('HINCRBY', STATS, 'sequence', 1)
end

-- Of an entry that is put.
local function first_score(key, sequence)
  if EVICTION == 'adaptive' then return adaptive_order().first_score(key, sequence) end
  if EVICTION == 'lru' then return sequence % RECENCIES * LRU_COUNTS end
  return sequence % GENERATIONS
end

local function count_of(score)
  if EVICTION == 'adaptive' then return score % ADAPTIVE_COUNTS end
  if EVICTION == 'lru' then return score % LRU_COUNTS end
  return math.floor(score / GENERATIONS)
end

local function score_after(score, hits)
  if EVICTION == 'adaptive' then return adaptive_order().score_after(score, hits, next_sequence()) end
  local count = count_of(score) + hits
  if EVICTION == 'lru' then
    return next_sequence() % RECENCIES * LRU_COUNTS + math.min(count, LRU_COUNTS - 1)
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
  if EVICTION == 'lru' or EVICTION == 'adaptive' then return generation_of(key) == generation end
  return score % GENERATIONS == generation
end

-- Counts from zero an entry that has a value and a row in EXPIRY alone.
local function adopt(key)
  redis.call('ZADD', COUNTS, integer(first_score(key, generation_of(key) or 0)), key)
end

-- Who goes when room is to be made, not the entry that is being put. After a loss of counts it is the
-- soonest to expire, or what has no count would stay.
local function victim(key, is_whole)
  if is_whole and EVICTION == 'adaptive' then return adaptive_order().victim(key) end
  local first = redis.call('ZRANGE', is_whole and COUNTS or EXPIRY, 0, 1)
  return first[1] ~= key and first[1] or first[2]
end
