-- The id of a store, which names one incarnation of it, and the origins of states written there (origin.py).

-- The process that writes first, and the time: the same process may write first again after the store was wiped.
local function new_replica_id(proposed, time)
  time = time or redis.call('TIME')
  return proposed .. '-' .. time[1] .. string.format('%06.0f', tonumber(time[2]))
end

local SEPARATOR, RUN = '\1', '\2'

-- The id of the store, and whether it is stored already. A damaged id is replaced. The id of an edge ends with RUN and
-- the suffix of a run of its server, which its first one has not (server_run.lua).
local function read_replica_id(key, proposed, is_edge)
  local id = redis.call('GET', key)
  if id and string.find(id, '^[%w-]+\2?[%w-]*$') then return id, true end
  return new_replica_id(proposed) .. (is_edge and RUN or ''), false
end

local function qualified_origin(name, replica_id)
  return name == '' and replica_id or name .. SEPARATOR .. replica_id
end

local function name_of(origin)
  return string.match(origin, '^[^\1\2]*')
end
