-- The index of scopes with changes in their outbox that a worker pushes.
-- Needs: keys_beside, publish_edge_hint, score_of, waiting_since, write_positions

-- Add a scope that is not in the index, and publish a hint to the workers.
local function add_to_work_index(work, scope, since, is_urgent)
  redis.call('ZADD', work, score_of(since, is_urgent), scope)
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
  redis.call('ZADD', work, score_of(since, score < 0), scope)
end
