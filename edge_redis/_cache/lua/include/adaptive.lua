-- The adaptive eviction order. New entries pass a window, ordered by recency; those that are read twice in it
-- are promoted to main, whose three tiers are swept like the hands of a clock (GCLOCK). The key of an evicted
-- entry is kept for a while, as a ghost. An entry whose ghost is put again, sooner than main's next victim was
-- last read, is admitted to main at once (the test of LIRS, Jiang and Zhang 2002). The size of the window
-- follows the hits: a ghost of the window that returns early widens it, a hit on an entry that main is about to
-- evict narrows it (as ARC, Megiddo and Modha 2003, shifts between its lists).
--
-- Widening costs a credit, and hits in the window earn credits. The ghosts of a loop that is a little longer
-- than the cache all return early, but nothing is hit in its window; without credits the window would grow to
-- the whole cache, in which no hit on main could narrow it again. For the same reason main keeps a part of it.
--
-- Score: band * 2^51 + recency * 2^16 + count. Band 0 is the window, 1 to 3 are main's tiers, of which the
-- field `tier` names the lowest. A ghost's score is 2 * recency, plus 1 if it was of main. State in STATS:
-- capacity, window (its target size), tier, credits. Every step is a bounded number of commands, each O(log n).
-- Needs: COUNTS, PREFIX, STATS, integer
local ADAPTIVE_COUNTS, ADAPTIVE_RECENCIES, BAND = 65536, 34359738368, 2251799813685248
local TOP = 2
local MAX_STEP, MAX_WINDOW, CREDITS_PER_HIT, PROMOTING_READS = 3, 0.95, 4, 2
local GHOSTS = PREFIX .. ':ghosts'

local function reset_adaptive()
  redis.call('DEL', GHOSTS)
  redis.call('HDEL', STATS, 'capacity', 'window', 'tier', 'credits')
end

-- Defined only where it is used, since every definition takes time in every call.
local function define_adaptive()
  local adaptive, mark
  local function share(part)
    return math.max(1, math.floor(adaptive.capacity * part))
  end

  local function adaptive_state()
    if adaptive then return adaptive end
    local known = redis.call('HMGET', STATS, 'capacity', 'window', 'tier', 'credits')
    adaptive = {
      capacity = tonumber(known[1] or '1'),
      window = tonumber(known[2] or '1'),
      tier = tonumber(known[3] or '0'),
      credits = tonumber(known[4] or '0'),
    }
    return adaptive
  end

  -- Under a bound of bytes the capacity is the number that fits; until the first eviction the window follows it.
  local function set_capacity(capacity)
    if adaptive_state().capacity == capacity then return end
    adaptive.capacity = capacity
    if redis.call('EXISTS', GHOSTS) == 0 then adaptive.window = share(0.1) end
    redis.call('HSET', STATS, 'capacity', capacity, 'window', adaptive.window)
  end

  local function move_window(steps)
    local step = math.max(1, math.min(MAX_STEP, math.floor(adaptive_state().capacity / 50)))
    adaptive.window = math.min(share(MAX_WINDOW), math.max(share(0.01), adaptive.window + steps * step))
    redis.call('HSET', STATS, 'window', adaptive.window)
  end

  local function add_credits(amount)
    adaptive.credits = math.min(adaptive_state().capacity, adaptive.credits + amount)
    redis.call('HSET', STATS, 'credits', adaptive.credits)
  end

  local function widen_window()
    if adaptive_state().credits < 1 then return end
    add_credits(-1)
    move_window(1)
  end

  -- The lowest score of a level above main's lowest tier, and the level of a score.
  local function band_of(level)
    return (1 + (adaptive_state().tier + level) % 3) * BAND
  end

  local function level_of(score)
    return (math.floor(score / BAND) - 1 - adaptive_state().tier) % 3
  end

  local function first_of_main()
    for level = 0, TOP do
      local from = band_of(level)
      local row = redis.call('ZRANGEBYSCORE', COUNTS, from, '(' .. integer(from + BAND), 'WITHSCORES', 'LIMIT', 0, 1)
      if row[1] then return row[1], tonumber(row[2]) end
    end
  end

  local function in_window()
    return redis.call('ZCOUNT', COUNTS, 0, '(' .. integer(BAND))
  end

  -- Main's entries below this level and score are the tenth of the cache that it would evict next.
  local function marker()
    local left = share(0.1)
    for level = 0, TOP do
      local from = band_of(level)
      local there = redis.call('ZCOUNT', COUNTS, from, '(' .. integer(from + BAND))
      if there > left then
        local at = redis.call('ZCOUNT', COUNTS, 0, '(' .. integer(from)) + left
        return {level = level, score = tonumber(redis.call('ZRANGE', COUNTS, at, at, 'WITHSCORES')[2])}
      end
      left = left - there
    end
    return {level = TOP + 1, score = 0}
  end

  local function is_about_to_go(score)
    mark = mark or marker()
    local level = level_of(score)
    return level < mark.level or (level == mark.level and score < mark.score)
  end

  local function adaptive_score_after(score, hits, sequence)
    adaptive_state()
    local count = math.min(score % ADAPTIVE_COUNTS + hits, ADAPTIVE_COUNTS - 1)
    local recency = sequence % ADAPTIVE_RECENCIES * ADAPTIVE_COUNTS
    if score < BAND then
      add_credits(CREDITS_PER_HIT * hits)
      return recency + count
    end
    if is_about_to_go(score) then move_window(-1) end
    return band_of(TOP) + recency + count
  end

  -- Keys that are being put -> whether each is admitted to main.
  local admitted = {}

  -- Uses the ghost of a key that is put, before space is made for it.
  local function on_ghost_hit(key)
    local seen = tonumber(redis.call('ZSCORE', GHOSTS, key))
    if not seen then return end
    local _, lowest = first_of_main()
    admitted[key] = lowest and math.floor(seen / 2) > math.floor(lowest % BAND / ADAPTIVE_COUNTS)
    if seen % 2 == 0 and redis.call('ZREVRANK', GHOSTS, key) < share(0.1) then widen_window() end
    redis.call('ZREM', GHOSTS, key)
  end

  local function add_ghost(key, score)
    local of_main = score >= BAND and 1 or 0
    redis.call('ZADD', GHOSTS, math.floor(score % BAND / ADAPTIVE_COUNTS) * 2 + of_main, key)
    local surplus = redis.call('ZCARD', GHOSTS) - math.floor(adaptive_state().capacity * 1.5)
    if surplus > 0 then redis.call('ZPOPMIN', GHOSTS, math.min(surplus, 2)) end
  end

  local function promote(key, score)
    local level = math.min(math.max(score % ADAPTIVE_COUNTS - 1, 0), TOP)
    redis.call('ZADD', COUNTS, band_of(level) + score, key)
  end

  -- Moves main's hand to the tier of its next victim, and returns the victim.
  local function main_victim()
    local key, score = first_of_main()
    local level = key and level_of(score) or 0
    if level > 0 then
      adaptive.tier = (adaptive.tier + level) % 3
      redis.call('HSET', STATS, 'tier', adaptive.tier)
    end
    return key, score
  end

  -- Evicts the window's oldest entry if it was read too rarely; otherwise main's next victim, whose place it takes.
  local function choose_victim()
    if in_window() < adaptive_state().window then return main_victim() end
    local oldest = redis.call('ZRANGE', COUNTS, 0, 0, 'WITHSCORES')
    local key, score = oldest[1], tonumber(oldest[2])
    if score % ADAPTIVE_COUNTS < PROMOTING_READS then return key, score end
    local going, its_score = main_victim()
    if not going then return key, score end
    promote(key, score)
    return going, its_score
  end

  local function adaptive_victim(putting)
    local own = redis.call('ZSCORE', COUNTS, putting) -- an entry that outgrows the bytes must not be its own victim
    if own then redis.call('ZREM', COUNTS, putting) end
    local key, score = choose_victim()
    if not key then
      local any = redis.call('ZRANGE', COUNTS, 0, 0, 'WITHSCORES')
      key, score = any[1], tonumber(any[2])
    end
    if own then redis.call('ZADD', COUNTS, own, putting) end
    if key then add_ghost(key, score) end
    return key
  end

  -- Promotes the oldest entries of a window that is larger than its target.
  local function shrink_window(most)
    for _ = 1, most do
      if in_window() < adaptive_state().window then return end
      local oldest = redis.call('ZRANGE', COUNTS, 0, 0, 'WITHSCORES')
      if not oldest[1] then return end
      promote(oldest[1], tonumber(oldest[2]))
    end
  end

  -- A new entry starts in the window, or in main where it is admitted; one that is put again stays where it is.
  local function adaptive_first_score(key, sequence)
    local recency = sequence % ADAPTIVE_RECENCIES * ADAPTIVE_COUNTS
    local before = tonumber(redis.call('ZSCORE', COUNTS, key))
    if before then return math.floor(before / BAND) * BAND + recency end
    return (admitted[key] and band_of(1) or 0) + recency
  end

  return {
    set_capacity = set_capacity,
    on_ghost_hit = on_ghost_hit,
    shrink_window = shrink_window,
    first_score = adaptive_first_score,
    score_after = adaptive_score_after,
    next_victim = adaptive_victim,
  }
end

local defined
local function adaptive_order()
  defined = defined or define_adaptive()
  return defined
end
