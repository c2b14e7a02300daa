-- How improbable it is that a node which beats as this one did is still alive after age ms of silence:
-- minus the decimal logarithm of the normal distribution's tail, as in "The phi accrual failure detector"
-- (Hayashibara et al., SRDS 2004), the tail by Pollak's bound of 1956 for Mills' ratio, at most 2% too high.
-- The deviation is taken as a tenth of the mean at least. nil where too few heartbeats are known.
local LEAST_INTERVALS = 10

local function tail(x)
  return math.sqrt(2 / math.pi) * math.exp(-x * x / 2) / (x + math.sqrt(x * x + 8 / math.pi))
end

local function phi(node, age)
  local count, sum, squares = arrivals(node)
  if count < LEAST_INTERVALS then return nil end
  local mean = sum / count
  local deviation = math.max(math.sqrt(math.max(0, squares / count - mean * mean)), mean / 10)
  local x = (age - mean) / deviation
  if x < 0 then return -math.log10(1 - tail(-x)) end
  return -math.log10(tail(x))
end
