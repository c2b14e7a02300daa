-- Changes whose body came as a splice: rebuilt of the document's body and of each other.
-- Needs: apply_splice, PREVIOUS

-- Bytes of the bodies that one call rebuilds at most, or one body of any size: splices of a few bytes name large bases.
local MAX_REBUILT_BYTES = 8 * 1024 * 1024

-- The body of which a change was made, nil where it is not here.
local function base_of(state, before, doc, current)
  if state.base == PREVIOUS then return before end
  return current and current.checksum == state.base and redis.call('HGET', doc, 'data') or nil
end

-- Give every change its full body; whether all have it. Nothing was written where one was made of another state.
local function rebuild(states, doc, current)
  local before, total = nil, 0
  for _, state in ipairs(states) do
    if state.splice then
      local base = base_of(state, before, doc, current)
      if not base or (total > 0 and total + #base + #state.splice > MAX_REBUILT_BYTES) then return false end
      state.data = apply_splice(base, state.splice)
      if not state.data then return false end
      total = total + #state.data
    end
    before = state.data
  end
  return true
end
