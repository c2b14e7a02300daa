-- Return timeout_ms and phi threshold of the watch that leads, or nil where none does. Every check in the namespace uses
-- them, since two timeouts would call one node healthy and unhealthy by turns.
local function leading_options(leader, server_now)
  local known = redis.call('HMGET', leader, 'until_ms', 'lease_ms', 'timeout_ms', 'threshold')
  local left = (tonumber(known[1] or nil) or 0) - server_now
  local timeout_ms = tonumber(known[3] or nil)
  if not timeout_ms or left <= 0 or left > (tonumber(known[2] or nil) or 0) then return nil end
  return timeout_ms, tonumber(known[4] or nil)
end
