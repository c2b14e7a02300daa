-- The index of scopes with changes in their outbox that a worker pushes.
-- Needs: integer, keys_beside, publish_edge_hint, write_positions

-- So much less is the score of an urgent scope than that of another one since the same time: urgent ones come first.
local URGENT_MS = 10000000000000

-- In ms. A scope's clock may be ahead of the time: with a score in the future it would never be served.
local function waiting_since(clock, at)
  local clock_ms = tonumber(string.match(clock, '^%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d') or '0')
  return math.min(clock_ms, at)
end

-- Add a scope that is not in the index, and publish a hint to the workers.
local function add_to_work_index(work, scope, since, is_urgent)
  redis.call('ZADD', work, integer(is_urgent and since - URGENT_MS or since), scope)
  publish_edge_hint(work)
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
  local score = tonumber(redis.call('ZSCORE', work, scope) or nil) -- none of a scope that no worker pushes
  if not score or not removal.left.clock then return end
  local since = waiting_since(removal.left.clock, at)
  redis.call('ZADD', work, integer(score < 0 and since - URGENT_MS or since), scope)
end
