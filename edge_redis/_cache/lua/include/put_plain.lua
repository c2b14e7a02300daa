-- The most frequent puts: entries with a TTL and without tags, in a consistent cache in which nothing has expired; also a
-- computed value whose lease counts. Under the adaptive order it is one entry, which is there already or takes the place
-- of the window's oldest entry, while the window has its size. These puts run before the definitions that they do not
-- need. Any other put is left, untouched, to the rest of the script.
--
-- What costs is the number of commands, then the conversion of numbers to text: so one EXISTS asks of three keys, and a
-- number is converted once.
-- Needs: ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], KEYS[1], now_ms, recall, remember
local max_size, max_bytes, is_verified, config = string.match(ARGV[3], '^(%d+) (%d+) (%d) (.*)$')
max_size, max_bytes = tonumber(max_size), tonumber(max_bytes)
local began = now_ms()

local answered = recall(KEYS[1] .. ':repeats', began, ARGV[1], ARGV[2])
if answered then return answered end

-- Returns the reply, nil where this is another put.
local function put_plain()
  if max_bytes > 0 or ARGV[4] ~= '' then return nil end
  local token, epoch
  if ARGV[5] ~= '' then
    token, epoch = string.match(ARGV[5], '^lease (%S+) (.*)$')
    if not token then return nil end
  end

  local call, values, leases, tagged = redis.call, KEYS[1] .. ':v:', KEYS[1] .. ':lease:', KEYS[1] .. ':tagged'
  local expiry, counts, stats = KEYS[1] .. ':expiry', KEYS[1] .. ':counts', KEYS[1] .. ':stats'
  local known = call('HMGET', stats, 'config', 'announce_until', 'sequence', 'evictions')
  if known[1] ~= config or not known[3] or (known[2] and tonumber(known[2]) > began) then return nil end
  if token then
    local now = call('HMGET', stats, 'cleared', 'invalidated') -- as epoch in leases.lua
    if (now[1] or '0') .. ' ' .. (now[2] or '0') ~= epoch then return nil end
  end
  local start = string.format('%.0f', began)
  local live = call('ZCOUNT', expiry, start, '+inf')
  if live > max_size or live ~= call('ZCARD', counts) then return nil end
  for at = 6, #ARGV, 3 do
    local key, others = ARGV[at], 0
    if token then
      local lease = call('GET', leases .. key)
      if lease ~= token and lease ~= token .. '+' then return nil end
      others = 1
    end
    local found = call('EXISTS', values .. key, leases .. key, tagged) - others
    -- STRLEN fails where the value is not a string, before anything is written.
    if ARGV[at + 1] == '0' or found > 1 or (found == 1 and call('STRLEN', values .. key) == 0) then return nil end
  end

  local is_lru, is_adaptive = string.sub(config, 1, 3) == 'lru', string.sub(config, 1, 8) == 'adaptive'
  local ghosts, band = KEYS[1] .. ':ghosts', 0
  if is_adaptive then -- as in adaptive.lua
    if #ARGV > 8 then return nil end
    local state = call('HMGET', stats, 'capacity', 'window')
    if tonumber(state[1]) ~= max_size then return nil end
    local before = tonumber(call('ZSCORE', counts, ARGV[6]))
    if before then
      if not call('ZSCORE', expiry, ARGV[6]) then return nil end
      band = before - before % 2251799813685248
    else
      if live < max_size or call('ZSCORE', ghosts, ARGV[6]) then return nil end
      if call('ZCOUNT', counts, 0, '(2251799813685248') ~= tonumber(state[2]) then return nil end
      if call('ZRANGE', counts, 0, 0, 'WITHSCORES')[2] % 65536 >= 2 then return nil end
    end
  end

  local sequence, evictions = tonumber(known[3]), 0
  for at = 6, #ARGV, 3 do
    local key, ends = ARGV[at], string.format('%.0f', began + ARGV[at + 1])
    local is_new = call('ZADD', expiry, ends, key) == 1
    if is_new and live < max_size then
      live = live + 1
    elseif is_new then
      local first = call('ZPOPMIN', counts)
      local victim = first[1]
      call('ZREM', expiry, victim)
      if is_adaptive then
        call('ZADD', ghosts, 2 * math.floor(first[2] / 65536), victim)
        local surplus = call('ZCARD', ghosts) - math.floor(max_size * 1.5)
        if surplus > 0 then call('ZPOPMIN', ghosts, math.min(surplus, 2)) end
      end
      if call('DEL', values .. victim) == 1 then evictions = evictions + 1 else call('HINCRBY', stats, 'repaired', 1) end
    end
    sequence = sequence + 1
    local generation = string.format('%010.0f', sequence % 8589934592)
    call('SET', values .. key, generation .. start .. ARGV[at + 2], 'PXAT', ends)
    local score = generation -- as first_score in order.lua
    if is_lru then score = sequence % 68719476736 * 131072 end
    if is_adaptive then score = band + sequence % 34359738368 * 65536 end
    call('ZADD', counts, score, key)
    if token then call('DEL', leases .. key) end
  end
  if evictions > 0 then
    call('HSET', stats, 'sequence', sequence, 'evictions', (known[4] or 0) + evictions)
  else
    call('HSET', stats, 'sequence', sequence)
  end
  return string.format('%d 0', (#ARGV - 5) / 3)
end

local plain = put_plain()
if plain then
  remember(KEYS[1] .. ':repeats', began, ARGV[1], ARGV[2], plain)
  return plain
end
