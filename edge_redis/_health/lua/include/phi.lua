-- Needs: arrivals
local LEAST_INTERVALS = 10

-- Return the tail of the normal distribution beyond x, by Pollak's bound of 1956 for Mills' ratio: at most 2% too high.
local function tail(x)
  return math.sqrt(2 / math.pi) * math.exp(-x * x / 2) / (x + math.sqrt(x * x + 8 / math.pi))
end

-- Return phi of a node that sent no heartbeat for age ms: minus the decimal logarithm of the probability that a node
-- with this rhythm is alive all the same ("The phi accrual failure detector", Hayashibara et al., SRDS 2004). The
-- deviation counts as a tenth of the mean at least. nil where fewer than ten intervals are known.
local function phi(node, age)
  local count, sum, squares = arrivals(node)
  if count < LEAST_INTERVALS then return nil end
  local mean = sum / count
  local deviation = math.max(math.sqrt(math.max(0, squares / count - mean * mean)), mean / 10)
  local x = (age - mean) / deviation
  if x < 0 then return -math.log10(1 - tail(-x)) end
  return -math.log10(tail(x))
end
