-- The cloud's feed: every scope once, by the number of its newest change. Scopes whose name has a slash are also in a part
-- of the feed, that of the name up to the slash, so that an edge that carries some parts reads these alone (feed_parts.lua).
-- Needs: integer, is_version, publish_cloud_hint

local NUMBERS_SKIPPED = 1000000

-- The key of the part of the feed that a scope is in, nil where it is in none.
local function part_of(tag, scope)
  local segment = string.match(scope, '^([^/]*)/')
  return segment and tag .. ':feed:' .. segment
end

-- Read the keys that `publish` writes: one of another type stops the script here.
local function check_feed(tag, scope)
  redis.call('ZSCORE', tag .. ':feed', scope)
  redis.call('GET', tag .. ':feed_number')
  local part = part_of(tag, scope)
  if part then redis.call('ZSCORE', part, scope) end
end

-- Move a scope to the end of the feed and of its part. Then publish a hint to the workers (keys.py); `origin` is that of
-- a state whose edge needs no hint of it, '' where every edge does. `state` is a state that the hint carries, or nil.
local function publish(tag, scope, id, origin, state)
  local feed, feed_number, feed_indexed = tag .. ':feed', tag .. ':feed_number', tag .. ':feed_indexed'
  local found = redis.call('MGET', feed_number, feed_indexed)
  if found[1] and not is_version(found[1]) then -- damaged: continue above every number that may have been used
    local highest = redis.call('ZREVRANGE', feed, 0, 0, 'WITHSCORES')[2]
    redis.call('SET', feed_number, integer((tonumber(highest) or 0) + NUMBERS_SKIPPED))
  end
  local last = redis.call('INCR', feed_number)
  local number = integer(last)
  redis.call('ZADD', feed, number, scope)
  local part = part_of(tag, scope)
  if part then redis.call('ZADD', part, number, scope) end
  -- Only without a gap: what a process that knows no parts has written before is put into its part by the next reader.
  if (found[2] or '0') == integer(last - 1) then redis.call('SET', feed_indexed, number) end
  local hint = id .. ':' .. number .. ' ' .. string.match(origin, '[^\1]*$')
  if state then hint = hint .. '\n' .. #scope .. ':' .. scope .. state end
  publish_cloud_hint(tag, scope, hint)
end
