-- The prefix of the current epoch's keys, and the epoch.
local function current_root(epoch_key, root)
  local epoch = redis.call('GET', epoch_key) or '0'
  return root .. ':' .. epoch, epoch
end
