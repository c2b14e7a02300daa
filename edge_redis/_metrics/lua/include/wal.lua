-- Write-ahead logs: a list <root>:wal:<writer> of bodies for each writer, and the set <root>:writers of
-- the writers that have one.

-- The reply WAL, writer... where bodies are to be compacted before a read; nil where none are.
local function find_uncompacted(root)
  if redis.call('EXISTS', root .. ':writers') == 0 then return nil end
  local writers = redis.call('SMEMBERS', root .. ':writers')
  table.insert(writers, 1, 'WAL') -- unpack would fail where there are thousands
  return writers
end
