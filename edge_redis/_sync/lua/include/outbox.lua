-- The index of scopes with changes in their outbox.
-- Needs: keys_beside, write_positions

-- In ms. A scope's clock may be ahead of the time: with a score in the future it would never be served.
local function waiting_since(clock, at)
  local clock_ms = tonumber(string.match(clock, '^%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d') or '0')
  return string.format('%.0f', math.min(clock_ms, at))
end

-- Add a scope that is not in the index, and publish a hint to the workers. Publishing may be forbidden to this user.
local function add_to_work_index(work, scope, since)
  redis.call('ZADD', work, since, scope)
  redis.pcall('PUBLISH', string.match(work, '^[^}]*}') .. ':wake', '')
end

-- Call after the oldest entries have left the outbox: delete an empty outbox, and update the index. `removal` is that of
-- `plan_removal`, nil where no entry is left; `last` is where the newest entry ends.
local function update_work_index(pending, work, scope, at, removal, last)
  local _, bodies, bytes = keys_beside(pending)
  if not removal then
    redis.call('DEL', pending, bodies)
    redis.call('HDEL', bytes, scope)
    redis.call('ZREM', work, scope)
    return
  end
  write_positions(pending, removal.first, last)
  if removal.left.clock then redis.call('ZADD', work, waiting_since(removal.left.clock, at), scope) end
end
