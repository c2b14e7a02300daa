-- The hint to the workers of a cloud's edges: there may be something to carry (keys.py).
-- Needs: hint_tag

-- Publishing may be forbidden to this user. The write stands: workers read it when they next read without a hint.
local function publish_cloud_hint(tag, scope, hint)
  local channel = hint_tag(tag) .. ':wake'
  redis.pcall('PUBLISH', channel, hint)
  redis.pcall('PUBLISH', channel .. ':' .. string.match(scope, '^[^/]*'), hint)
end
