local MAX_SPELLS = 1000
local HELD_TIMEOUTS = 10 -- a verdict holds until the next check, for this many timeouts at most

-- Return the mark of the last line of a node's history, and the spells that a check with this mark adds, oldest first:
-- none where the verdict is known to be the same. It is not known from some timeouts after a check until the next.
local function find_spell(line_before, mark, now, timeout_ms)
  local mark_before, at = string.match(line_before, '^(%d%l?) %d+ (%d+)')
  local held_until = at and tonumber(at) + HELD_TIMEOUTS * timeout_ms
  local is_known = held_until and held_until >= now
  if is_known and mark_before == mark then return mark_before, nil end
  local spell = { string.format('%.0f', now) .. ' ' .. mark }
  if held_until and not is_known then table.insert(spell, 1, string.format('%.0f', held_until) .. ' ?') end
  return mark_before, spell
end

local function write_spell(spells, spell)
  local length
  for _, change in ipairs(spell) do length = redis.call('LPUSH', spells, change) end
  if length > MAX_SPELLS then redis.call('LTRIM', spells, 0, MAX_SPELLS - 1) end
end
