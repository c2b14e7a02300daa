-- Another run of an edge's server is another incarnation of its store: the id gets a suffix, which differs in every copy
-- of a disk image, since each copy is run by a server of its own.
-- Needs: RUN, new_replica_id

-- The run of the server that answers, nil where it gives none, and the record of it to be stored, nil where that is there.
-- INFO takes 20 us, so it is asked only where LASTSAVE, the time of the last save or of the start, has changed since:
-- another run that began within the same second is excluded by a record of more than a second later.
local function read_run(known, time)
  local run, saved, checked = string.match(known or '', '^(%w+) (%d+) (%d+)$')
  local last_save = redis.pcall('LASTSAVE')
  if type(last_save) ~= 'number' then return nil, run end
  if saved and tonumber(saved) == last_save and tonumber(checked) > last_save + 1 then return run, run end
  local info = redis.pcall('INFO', 'server')
  local now = type(info) == 'string' and string.match(info, 'run_id:(%w+)')
  if not now then return nil, run end
  return now, run, now .. ' ' .. string.format('%.0f', last_save) .. ' ' .. time[1]
end

-- The id under which this run of an edge's server writes.
local function read_run_id(id, key, proposed, time)
  local run, known, to_store = read_run(redis.call('GET', key), time)
  if run and known and run ~= known then
    id = string.match(id, '^[^\2]*') .. RUN .. new_replica_id(string.sub(proposed, 1, 8), time)
  end
  return id, to_store
end
