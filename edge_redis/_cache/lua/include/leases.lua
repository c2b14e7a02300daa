-- A lease says who computes a missing value: a string with a TTL, the holder's token. An empty one
-- is void: what its holder computes is out of date before it is stored. One that begins with ! is held by
-- nobody: it tells how computing failed. The epoch rises where entries
-- go that are not known one by one; that of tags matters to those alone who have some.
-- Needs: ROOM, STATS
local function lease_of(key)
  return ROOM .. ':lease:' .. key
end

-- Whoever is computing this key must not store what comes of it.
local function void_lease(key)
  redis.call('SET', lease_of(key), '', 'XX', 'KEEPTTL')
end

local function epoch(has_tags)
  local cleared = redis.call('HGET', STATS, 'cleared') or '0'
  return has_tags and cleared .. ':' .. (redis.call('HGET', STATS, 'invalidated') or '0') or cleared
end
