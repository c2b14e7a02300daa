-- The name of a store that has none: the process that writes first, and when. The same process may write first again,
-- in another life of a store that was wiped.
local function name_site(candidate)
  local time = redis.call('TIME')
  return candidate .. '-' .. time[1] .. string.format('%06.0f', tonumber(time[2]))
end
