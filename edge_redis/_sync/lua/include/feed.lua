-- The cloud's feed: every scope once, by the number of its newest change. Scopes whose name has a slash are also in a part
-- of the feed, that of the name up to the slash, so that an edge that carries some parts reads these alone (feed_parts.lua).
-- Needs: part_of, integer, is_version, publish_cloud_hint, read_retention, keep_accepted

local NUMBERS_SKIPPED = 1000000

-- Read the keys that `publish` writes: one of another type stops the script here. Returns what `publish` needs of them.
local function read_feed_head(tag, scope)
  redis.call('ZSCORE', tag .. ':feed', scope)
  redis.call('GET', tag .. ':feed_number')
  local part = part_of(tag, scope)
  if part then redis.call('ZSCORE', part, scope) end
  local found = redis.call('MGET', tag .. ':feed_number', tag .. ':feed_indexed', tag .. ':accepted_keep')
  local keep = found[3] and read_retention(found[3])
  if keep then redis.call('XLEN', tag .. ':accepted') end
  return {number = found[1], indexed = found[2] or '0', keep = keep, part = part}
end

-- Move a scope to the end of the feed and of its part, and append its accepted states to the stream of accepted changes
-- where the cloud keeps one. `head` is what `read_feed_head` has returned. Then publish a hint to the workers (keys.py);
-- `origin` is that of a state whose edge needs no hint of it, '' where every edge does. `carried` is a state that the hint
-- carries, or nil.
local function publish(tag, scope, head, id, origin, accepted, carried)
  local feed, feed_number = tag .. ':feed', tag .. ':feed_number'
  if head.number and not is_version(head.number) then -- damaged: continue above every number that may have been used
    local highest = redis.call('ZREVRANGE', feed, 0, 0, 'WITHSCORES')[2]
    redis.call('SET', feed_number, integer((tonumber(highest) or 0) + NUMBERS_SKIPPED))
  end
  local last = redis.call('INCR', feed_number)
  local number = integer(last)
  redis.call('ZADD', feed, number, scope)
  if head.part then redis.call('ZADD', head.part, number, scope) end
  -- Only without a gap: what a process that knows no parts has written before is put into its part by the next reader.
  if head.indexed == integer(last - 1) then redis.call('SET', tag .. ':feed_indexed', number) end
  if head.keep then keep_accepted(tag, scope, head.keep, accepted) end
  local hint = id .. ':' .. number .. ' ' .. string.match(origin, '[^\1]*$')
  if carried then hint = hint .. '\n' .. #scope .. ':' .. scope .. carried end
  publish_cloud_hint(tag, scope, hint)
end
