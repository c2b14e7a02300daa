-- The write-ahead logs of a writer, each a list of bodies (see totals.py).
local LOGS = 6 -- as flush_calls.py has it

local function log_key(root, writer, number)
  return root .. ':wal:' .. writer .. ':' .. number
end
