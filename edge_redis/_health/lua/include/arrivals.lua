-- Return what a node's record keeps of the intervals between its heartbeats: count, sum and sum of squares, in ms.
local function arrivals(node)
  local text = redis.call('HGET', node, 'arrivals') or ''
  local count, sum, squares = string.match(text, '^(%S+) (%S+) (%S+)$')
  return tonumber(count or 0) or 0, tonumber(sum or 0) or 0, tonumber(squares or 0) or 0
end
