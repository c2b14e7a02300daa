-- What a document remembers of each origin. Every edge that was ever replaced, or wiped, has left one more.
-- Needs: earlier
local MOST_ORIGINS, GO_TOGETHER = 1000, 100

-- Forget the origins heard of longest ago, by their clocks, once there are too many. What of theirs still comes again
-- is at most recorded once more as a conflict.
local function forget_origins(doc)
  if redis.call('HLEN', doc) <= MOST_ORIGINS then return end
  local origins = {}
  for _, field in ipairs(redis.call('HKEYS', doc)) do
    if string.sub(field, 1, 5) == 'seen:' then origins[#origins + 1] = string.sub(field, 6) end
  end
  if #origins <= MOST_ORIGINS then return end
  local clock = {}
  for _, origin in ipairs(origins) do
    clock[origin] = string.match(redis.call('HGET', doc, 'seen:' .. origin), ':(%d*)$') or ''
  end
  table.sort(origins, function(a, b) return earlier(clock[a], clock[b]) end)
  for i = 1, GO_TOGETHER do redis.call('HDEL', doc, 'seen:' .. origins[i], 'life:' .. origins[i]) end
end
