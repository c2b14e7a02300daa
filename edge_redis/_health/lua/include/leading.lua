-- Return a stored timeout as a number, or nil where it is damaged: by an infinite one no node would ever be unhealthy,
-- by one that is not a number every node.
local function to_timeout(word)
  local timeout_ms = word and tonumber(word)
  return timeout_ms and timeout_ms > 0 and timeout_ms < math.huge and timeout_ms or nil
end

-- Return timeout_ms and phi threshold of the watch that leads, or nil where none does. Every check in the namespace uses
-- them, since two timeouts would call one node healthy and unhealthy by turns.
local function leading_options(leader, server_now)
  local known = redis.call('HMGET', leader, 'until_ms', 'lease_ms', 'timeout_ms', 'threshold')
  local left = (tonumber(known[1] or nil) or 0) - server_now
  local timeout_ms = to_timeout(known[3])
  if not (timeout_ms and left > 0 and left <= (tonumber(known[2] or nil) or 0)) then return nil end
  return timeout_ms, tonumber(known[4] or nil)
end
