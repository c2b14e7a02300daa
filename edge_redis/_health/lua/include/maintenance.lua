-- Whether the maintenance that an operator set lasts: '<until_ms> <reason>', without an end where until_ms is 0.
local function is_maintained(maintenance, now)
  local until_ms = maintenance and tonumber(string.match(maintenance, '^(%d+)') or nil)
  return until_ms ~= nil and until_ms ~= false and (until_ms == 0 or now < until_ms)
end
