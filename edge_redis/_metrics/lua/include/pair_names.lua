-- Returns the function and the node of a pair, as keys.py names it; nil where the name is damaged.
local function split_pair(pair)
  local length, names = string.match(pair, '^(%d+):(.*)$')
  if length then return string.sub(names, 1, length), string.sub(names, length + 1) end
end
