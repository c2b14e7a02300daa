-- The scopes that the workers of an edge carry, by the patterns in its hash `patterns`, see push_patterns.py.
-- Needs: compile_pattern, has_parts

local PUSHES_ALL = 'push 1:*'

-- The patterns of a text `<length>:<pattern>...`.
local function split_patterns(text)
  local found, at = {}, 1
  while true do
    local _, colon, size = string.find(text, '^(%d%d?%d?%d?):', at)
    if not size then return found end
    at = colon + 1 + tonumber(size)
    found[#found + 1] = string.sub(text, colon + 1, at - 1)
  end
end

-- What is registered: is_limited where workers have registered and none of them pushes all scopes.
local function read_carried(key)
  local carried = {pushed = {}, urgent = {}, is_limited = false}
  local pushes_all = false
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local kind, text = string.match(field, '^(%a+) (.*)$')
    if kind == 'urgent' then
      table.insert(carried.urgent, text)
    elseif field == PUSHES_ALL then
      pushes_all = true
    elseif kind == 'push' then
      carried.is_limited = true
      for _, pattern in ipairs(split_patterns(text)) do table.insert(carried.pushed, pattern) end
    end
  end
  carried.is_limited = carried.is_limited and not pushes_all
  return carried
end

-- Whether one of the patterns stands for the scope. Most differ in what stands before their first `*` or `?`.
local function is_any_for(patterns, scope)
  for _, pattern in ipairs(patterns) do
    local first = string.match(pattern, '^[^*?]*')
    if string.sub(scope, 1, #first) == first and has_parts(scope, compile_pattern(pattern)) then return true end
  end
  return false
end

-- Whether a scope is outside the patterns of every worker that pushes: then its newest state alone is kept.
local function stays_here(carried, scope)
  return carried.is_limited and not is_any_for(carried.pushed, scope)
end
