-- The hint to the workers of a cloud's edges: there may be something to carry (keys.py).

-- Return the tag of shard 0, whose channels serve all shards.
local function hint_tag(tag)
  local found = string.gsub(tag, '%d+%.%d+%.%d+}$', '0}')
  return found
end

-- Publishing may be forbidden to this user. The write stands: workers read it when they next read without a hint.
local function publish_cloud_hint(tag, scope, hint)
  local channel = hint_tag(tag) .. ':wake'
  redis.pcall('PUBLISH', channel, hint)
  redis.pcall('PUBLISH', channel .. ':' .. string.match(scope, '^[^/]*'), hint)
end
