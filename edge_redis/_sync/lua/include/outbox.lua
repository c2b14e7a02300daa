-- The index of scopes with changes in their outbox.

-- In ms. A scope's clock may be ahead of the time: with a score in the future it would never be served.
local function waiting_since(clock, at)
  local clock_ms = tonumber(string.match(clock, '^%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d') or '0')
  return string.format('%.0f', math.min(clock_ms, at))
end

-- Add a scope that is not in the index, and tell the workers that listen. Publishing may be forbidden to this user.
local function add_to_work_index(work, scope, since)
  redis.call('ZADD', work, since, scope)
  redis.pcall('PUBLISH', string.match(work, '^[^}]*}') .. ':wake', '')
end

-- Call after entries have left the outbox: delete an empty outbox, and update the index.
local function update_work_index(pending, work, scope, at)
  local oldest = redis.call('XRANGE', pending, '-', '+', 'COUNT', 1)[1]
  if not oldest then
    redis.call('DEL', pending)
    redis.call('ZREM', work, scope)
    return
  end
  for i = 1, #oldest[2], 2 do
    if oldest[2][i] == 'clock' then
      redis.call('ZADD', work, waiting_since(oldest[2][i + 1], at), scope)
    end
  end
end
