-- Return strings as one: their lengths, a newline, and the strings one after another; see _core/packing.py. A client
-- without a parser in C reads it many times faster than an array.
local function pack_strings(strings)
  local lengths = {}
  for index, text in ipairs(strings) do lengths[index] = #text end
  return table.concat(lengths, ' ') .. '\n' .. table.concat(strings)
end
