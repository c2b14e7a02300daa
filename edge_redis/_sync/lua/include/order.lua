-- Which of two states of a scope wins.
-- Needs: earlier, name_of

-- Bytewise: Lua's own `<` follows the server's locale.
local function precedes(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function wins_by_version(state, current)
  if state.version ~= current.version then return state.version > current.version end
  if state.origin == '' then return false end
  local theirs, ours = name_of(state.origin) == 'cloud', name_of(current.origin) == 'cloud'
  if theirs ~= ours then return theirs end
  if state.origin ~= current.origin then return precedes(current.origin, state.origin) end
  return precedes(current.checksum, state.checksum)
end

local function wins_by_clock(state, current)
  if state.clock ~= current.clock then return earlier(current.clock, state.clock) end
  if state.origin ~= current.origin then return precedes(current.origin, state.origin) end
  return precedes(current.checksum, state.checksum)
end

local function is_same(state, current, strategy)
  if state.checksum ~= current.checksum or state.origin ~= current.origin then return false end
  if strategy == 'latest_wins' then return state.clock == current.clock end
  return state.version == current.version
end

-- accepted, duplicate or rejected.
local function outcome_of(state, current, strategy)
  if not current then return 'accepted' end
  if is_same(state, current, strategy) then return 'duplicate' end
  if strategy == 'local_wins' then return 'rejected' end
  local wins = strategy == 'latest_wins' and wins_by_clock or wins_by_version
  return wins(state, current) and 'accepted' or 'rejected'
end
