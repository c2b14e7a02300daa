local VERDICTS = { ['1'] = 'healthy', ['0'] = 'unhealthy' }

-- Return the state in which the newest line of a node's history left it: maintenance, whatever the verdict, or else
-- the verdict. A suspicion and a maintenance that an operator set are newer than the line.
local function last_state(line, maintenance, suspected)
  if suspected then return 'suspected' end
  if maintenance or string.sub(line, 2, 2) == 'm' then return 'maintenance' end
  return VERDICTS[string.sub(line, 1, 1)] or 'unknown'
end
