-- A lease names the caller that computes a missing value: a string with a TTL, the holder's token. An empty
-- lease is void: the value being computed is outdated and will not be stored. A lease that begins with ! has
-- no holder and keeps the error of the last computation. The epoch rises when entries are removed without
-- their keys being known one by one; the epoch of tags concerns tagged values alone.
-- Needs: PREFIX, STATS
local function lease_of(key)
  return PREFIX .. ':lease:' .. key
end

-- Makes a value of this key that is being computed now outdated.
local function void_lease(key)
  redis.call('SET', lease_of(key), '', 'XX', 'KEEPTTL')
end

local function epoch(has_tags)
  local cleared = redis.call('HGET', STATS, 'cleared') or '0'
  return has_tags and cleared .. ':' .. (redis.call('HGET', STATS, 'invalidated') or '0') or cleared
end
