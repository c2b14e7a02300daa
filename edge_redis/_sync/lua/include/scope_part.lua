-- The key of the part of the feed that a scope is in, nil where it is in none.
local function part_of(tag, scope)
  local segment = string.match(scope, '^([^/]*)/')
  return segment and tag .. ':feed:' .. segment
end
