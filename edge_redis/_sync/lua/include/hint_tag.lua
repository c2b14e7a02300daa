-- The tag of shard 0, whose channels serve all shards.
local function hint_tag(tag)
  local found = string.gsub(tag, '%d+%.%d+%.%d+}$', '0}')
  return found
end
