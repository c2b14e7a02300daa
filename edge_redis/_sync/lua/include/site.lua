-- The name of a store that has none: the process that writes first, and when. The same process may write first again,
-- in another life of a store that was wiped.
local function name_site(candidate)
  local time = redis.call('TIME')
  return candidate .. '-' .. time[1] .. string.format('%06.0f', tonumber(time[2]))
end

-- Who writes in a store, under a name and in this life of it (origin.py), and the name of whoever wrote.
local BETWEEN = '\1'
local function lived(name, site_name)
  return name == '' and site_name or name .. BETWEEN .. site_name
end

local function name_of(origin)
  return string.match(origin, '^[^' .. BETWEEN .. ']*')
end
