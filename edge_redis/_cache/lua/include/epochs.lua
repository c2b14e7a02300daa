-- The epoch is two numbers: `cleared` changes when all entries are removed, `invalidated` rises when a tag or
-- a prefix is invalidated. INVALIDATED and INVALIDATED_PREFIXES say at which epoch each one was, for a day and
-- for so many of them; a computation that began before the oldest one known counts as outdated.
-- Needs: PREFIX, STATS, integer, is_held_by, lease_of
local INVALIDATED, INVALIDATED_PREFIXES = PREFIX .. ':invalidated', PREFIX .. ':invalidated-prefixes'
local MAX_INVALIDATED, MAX_INVALIDATED_PREFIXES, INVALIDATED_MS = 10000, 100, 86400000

-- Records that a tag or prefix was invalidated, so that values with it that are being computed now are not stored.
local function record_invalidation(key, most, floor, name)
  redis.call('ZADD', key, redis.call('HINCRBY', STATS, 'invalidated', 1), name)
  redis.call('PEXPIRE', key, INVALIDATED_MS)
  if redis.call('ZCARD', key) > most then
    redis.call('HSET', STATS, floor, tonumber(redis.call('ZPOPMIN', key)[2]))
  end
end

local function is_invalidated_since(since, key, tags)
  local floors = redis.call('HMGET', STATS, 'tag_floor', 'prefix_floor')
  if tonumber(floors[2] or '0') > since or (#tags > 0 and tonumber(floors[1] or '0') > since) then return true end
  for _, tag in ipairs(tags) do
    if tonumber(redis.call('ZSCORE', INVALIDATED, tag) or '0') > since then return true end
  end
  for _, prefix in ipairs(redis.call('ZRANGEBYSCORE', INVALIDATED_PREFIXES, '(' .. integer(since), '+inf')) do
    if string.sub(key, 1, #prefix) == prefix then return true end
  end
  return false
end

-- Whether a computed value must not be stored: its lease was voided or taken by another caller, or expired
-- while something was put in its place, or the cache was cleared or flushed, or a tag or prefix invalidated.
local function is_outdated(key, tags, token, cleared, invalidated)
  local lease = redis.call('GET', lease_of(key))
  if lease and not is_held_by(lease, token) then return true end
  if not lease and redis.call('EXISTS', PREFIX .. ':v:' .. key) == 1 then return true end
  if (redis.call('HGET', STATS, 'cleared') or '0') ~= cleared then return true end
  return is_invalidated_since(tonumber(invalidated), key, tags)
end
