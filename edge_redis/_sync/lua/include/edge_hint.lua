-- The hint to the workers of an edge: there may be something to carry (keys.py).
-- Needs: hint_tag

-- `key` is any key of the edge. Publishing may be forbidden to this user.
local function publish_edge_hint(key)
  redis.pcall('PUBLISH', hint_tag(string.match(key, '^[^}]*}')) .. ':wake', '')
end
