-- Where the keys of the current generation are.
local function current_root(generation_key, root)
  local generation = redis.call('GET', generation_key) or '0'
  return root .. ':' .. generation, generation
end

