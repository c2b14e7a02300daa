-- Write-ahead logs: the set <root>:writers has the writers that have one; see log_keys.lua.

-- The reply WAL, writer... where bodies are to be compacted before a read; nil where none are.
local function find_uncompacted(root)
  if redis.call('EXISTS', root .. ':writers') == 0 then return nil end
  local writers = redis.call('SMEMBERS', root .. ':writers')
  table.insert(writers, 1, 'WAL') -- unpack would fail where there are thousands
  return writers
end
