-- A lease names the caller that computes a missing value. It is a string with a TTL: the holder's token, and a +
-- once other callers wait. An empty lease is void: the value being computed is outdated and will not be stored.
-- A lease that begins with ! has no holder and keeps the error of a computation: ! and the token, 1 where the
-- error is for all callers, and the error.
-- Needs: PREFIX
local function lease_of(key)
  return PREFIX .. ':lease:' .. key
end

local function is_held_by(lease, token)
  return lease == token or lease == token .. '+'
end

-- Voids the lease of a key, so that a value that is being computed now is not stored.
local function void_lease(key)
  redis.call('SET', lease_of(key), '', 'XX', 'KEEPTTL')
end
