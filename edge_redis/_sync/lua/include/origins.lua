-- Bound the number of origins that a document remembers: each edge that was replaced or wiped leaves one.
-- Needs: earlier
local MAX_ORIGINS, REMOVED_TOGETHER = 1000, 100

-- Remove the origins with the oldest clocks once there are too many. If a state of theirs is sent again, it may be
-- recorded a second time as a conflict.
local function trim_origins(doc)
  if redis.call('HLEN', doc) <= MAX_ORIGINS then return end
  local origins = {}
  for _, field in ipairs(redis.call('HKEYS', doc)) do
    if string.sub(field, 1, 5) == 'seen:' then origins[#origins + 1] = string.sub(field, 6) end
  end
  if #origins <= MAX_ORIGINS then return end
  local clock = {}
  for _, origin in ipairs(origins) do
    clock[origin] = string.match(redis.call('HGET', doc, 'seen:' .. origin), ':(%d*)$') or ''
  end
  table.sort(origins, function(a, b) return earlier(clock[a], clock[b]) end)
  for i = 1, REMOVED_TOGETHER do redis.call('HDEL', doc, 'seen:' .. origins[i], 'restored_at:' .. origins[i]) end
end
