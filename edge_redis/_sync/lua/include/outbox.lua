-- A scope's outbox, and the index of scopes with something in theirs.

-- In ms. A clock may run ahead of the time; nothing has waited since the future, and whatever said so
-- would stand behind all others for ever.
local function waiting_since(clock, at)
  local clock_ms = tonumber(string.match(clock, '^%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d') or '0')
  return string.format('%.0f', math.min(clock_ms, at))
end

local UNSIGNED = {}

-- Put a full after-image in the outbox. The oldest past the bound go: a successor holds their effect.
local function enqueue(pending, state, is_delta, max_pending)
  redis.call('XADD', pending, 'MAXLEN', max_pending, string.format('%.0f', state.version) .. '-0', 'data', state.data,
    'checksum', state.checksum, 'clock', state.clock, 'origin', state.origin, 'base', state.base,
    'is_delta', is_delta, unpack(state.signature and {'signature', state.signature} or UNSIGNED))
end

-- After entries have left the outbox: nothing is kept of an empty one, and the index stays true.
local function settle(pending, work, scope, at)
  local oldest = redis.call('XRANGE', pending, '-', '+', 'COUNT', 1)[1]
  if not oldest then
    redis.call('DEL', pending)
    redis.call('ZREM', work, scope)
    return
  end
  for i = 1, #oldest[2], 2 do
    if oldest[2][i] == 'clock' then
      redis.call('ZADD', work, waiting_since(oldest[2][i + 1], at), scope)
    end
  end
end
