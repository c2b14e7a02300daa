-- Writing one entry to an outbox.
-- Needs: integer

local ENTRY_BYTES = 256 -- what an entry takes besides its body or its splice, about

-- Append a state to the outbox: in full or as a splice, at its position in bytes. Where the plan has max_entries, older
-- entries are removed, which must have no splices.
local function add_entry(pending, plan, state, is_delta)
  local id = integer(state.version) .. '-0'
  local words
  if plan.splice then
    words = {'XADD', pending, id, 'splice', plan.splice, 'base', plan.base, 'size', plan.size, 'chain', plan.chain}
  elseif plan.max_entries then
    words = {'XADD', pending, 'MAXLEN', '=', plan.max_entries, id, 'data', plan.data}
  else
    words = {'XADD', pending, id, 'data', plan.data}
  end
  local n = #words
  words[n + 1], words[n + 2], words[n + 3], words[n + 4] = 'position', integer(plan.position), 'checksum', state.checksum
  words[n + 5], words[n + 6], words[n + 7], words[n + 8] = 'clock', state.clock, 'origin', state.origin
  words[n + 9], words[n + 10], words[n + 11], words[n + 12] = 'ancestor', state.ancestor, 'is_delta', is_delta
  if state.signature then words[n + 13], words[n + 14] = 'signature', state.signature end
  redis.call(unpack(words))
end
