-- Entries are evicted in the order of their scores in COUNTS, each an integer under 2^53:
--   least_accessed  count * 2^33 + generation: ties go oldest first; counts saturate at 2^20 - 1
--   lru             recency * 2^17 + count: the sequence at the last access; counts saturate at 2^17 - 1
--   adaptive        band * 2^51 + recency * 2^16 + count (see adaptive.lua); counts saturate at 2^16 - 1
-- The first put into an empty cache decides which.
-- Needs: ADAPTIVE_COUNTS, COUNTS, EVICTION, EXPIRY, GENERATIONS, STATS, adaptive_order, value_of
local RECENCIES, LRU_COUNTS = 68719476736, 131072

local function next_sequence()
  return redis.call('HINCRBY', STATS, 'sequence', 1)
end

-- The score of an entry that is put.
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

-- The generation of an entry, nil where its value is not one of the cache's.
local function generation_of(key)
  local head = redis.pcall('GETRANGE', value_of(key), 0, 9)
  return type(head) == 'string' and tonumber(string.match(head, '^%d+$')) or nil
end

-- The score of an entry that is written again in place: its count stays.
local function score_of_generation(key, score, sequence)
  return first_score(key, sequence) + count_of(score) * (EVICTION == 'least_accessed' and GENERATIONS or 1)
end

-- Whether a row with this score is of this generation, and not of an entry that replaced it.
local function has_generation(key, score, generation)
  if EVICTION == 'lru' or EVICTION == 'adaptive' then return generation_of(key) == generation end
  return score % GENERATIONS == generation
end

-- Adds the missing row of an entry in COUNTS, with a count of zero.
local function restore_count(key)
  redis.call('ZADD', COUNTS, first_score(key, generation_of(key) or 0), key)
end

-- The next entry to evict, other than the one being put. Where counts were lost it is the one that expires
-- first, since an entry without a count would never be evicted.
local function next_victim(key, is_whole)
  if is_whole and EVICTION == 'adaptive' then return adaptive_order().next_victim(key) end
  local first = redis.call('ZRANGE', is_whole and COUNTS or EXPIRY, 0, 1)
  return first[1] ~= key and first[1] or first[2]
end
