-- The prefix of the current epoch's keys, and the epoch.
local function current_root(epoch_key, root)
  local epoch = redis.call('GET', epoch_key) or '0'
  return root .. ':' .. epoch, epoch
end

-- Whether a caller that takes this shard for one of the present number is to read the record.
local function is_earlier(earlier_key)
  return redis.call('EXISTS', earlier_key) == 1
end
