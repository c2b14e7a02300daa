-- What writers have left to be added up later: the list <root>:log:<writer> of each, and the set
-- <root>:logs of those who have one.

-- Who has left something, behind the word that says so; nil where nobody has.
local function unsettled(root)
  if redis.call('EXISTS', root .. ':logs') == 0 then return nil end
  local slots = redis.call('SMEMBERS', root .. ':logs')
  table.insert(slots, 1, 'LOG') -- unpack would fail where there are thousands
  return slots
end
