-- Counters of what was carried, which only rise. A damaged one begins again at 0.
-- Needs: integer, is_clock, is_version

local BUCKETS_PER_DOUBLING = 32 -- of _core/sketch.py

-- Add amounts by name, and check first: an increment of a damaged counter would stop the script.
local function add_to_totals(totals, amounts)
  for name, amount in pairs(amounts) do
    local before = redis.call('HGET', totals, name)
    if before and not is_version(before) then redis.call('HDEL', totals, name) end
    redis.call('HINCRBY', totals, name, integer(amount))
  end
end

-- Add the times from these clocks until now to the histogram. A clock ahead of the server's time is left out: it was
-- read from a state of another server, and says nothing about when the change was made.
local function add_delivery_times(amounts, clocks, now)
  local now_us = tonumber(now[1]) * 1000000 + tonumber(now[2])
  for clock in string.gmatch(clocks, '%S+') do
    local us = now_us - (is_clock(clock) and tonumber(clock) or math.huge)
    if us >= 0 then
      local index = math.ceil(math.log(math.max(us, 1) / 1000) / math.log(2) * BUCKETS_PER_DOUBLING) - 1
      local name = 'time:' .. integer(index)
      amounts[name] = (amounts[name] or 0) + 1
      amounts.time_us = (amounts.time_us or 0) + us
    end
  end
end
