-- Past this many intervals, count and sums are halved, so that older intervals lose weight.
-- Needs: arrivals
local MOST_ARRIVALS = 200
local LEAST_ARRIVALS = 10

-- Add one interval between heartbeats to a node's record. An interval of limit_ms or longer is an outage and says
-- nothing of the node's rhythm; one shorter than a tenth of the mean is a heartbeat that was sent twice.
local function record_arrival(node, last, now, limit_ms)
  local interval = now - (last or now)
  if interval <= 0 or interval >= limit_ms then return end
  local count, sum, squares = arrivals(node)
  if count >= LEAST_ARRIVALS and interval < sum / count / 10 then return end
  if count >= MOST_ARRIVALS then count, sum, squares = count / 2, sum / 2, squares / 2 end
  redis.call('HSET', node, 'arrivals',
    string.format('%.17g %.17g %.17g', count + 1, sum + interval, squares + interval * interval))
end
