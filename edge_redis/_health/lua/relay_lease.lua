-- Take or keep a relay's lease, and return its position.
-- KEYS[1] relay        hash     holder, until_ms, lease_ms, position, number, attempts, due_ms, pause_ms, delivered,
--                               dropped, lost, last_error
-- KEYS[2] transitions  stream   state changes
-- KEYS[3] relays       set      the names of all relays that have begun
-- KEYS[4] totals       hash     stream_id: names the stream, and no other at any site
-- ARGV[1] holder       string
-- ARGV[2] lease_ms     integer, the lease lasts this long from now
-- ARGV[3] name         string, the relay's
-- ARGV[4] new_id       string, becomes the stream's id where it has none
-- Reply: [string, number, number, number | '', string] | []: position, attempts made at the next transition, now in
--        server ms, the number of the transition at the position where it is known, and the stream's id; none for a
--        stand-by, or where none is due yet
-- Invariant: one holder at a time; a relay begins with what comes after its first call
-- Moved: allowed, since relays deliver what is left in the stream of a shard whose nodes were moved
-- Repeat: idempotent, the holder stays the holder
-- include: clock
local LONGEST_PAUSE_MS = 3600 * 1000 -- where an earlier release has not stored the pause
local relay, transitions, relays, totals, holder = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1]

-- Return the number of an entry, as append_transition writes it.
local function number_of(entry)
  for index = 1, #entry[2], 2 do
    if entry[2][index] == 'number' then return entry[2][index + 1] end
  end
  return ''
end

local now = now_ms()
local known = redis.call('HMGET', relay, 'holder', 'until_ms', 'position', 'attempts', 'due_ms', 'number', 'lease_ms',
  'pause_ms')
-- A lease with more time left than its duration was taken before the clock was set back: it does not count.
local left = (tonumber(known[2] or nil) or 0) - now
if known[1] and known[1] ~= holder and left > 0 and left <= tonumber(known[7] or ARGV[2]) then return {} end
local position, number = known[3], known[6] or ''
local attempts = string.match(known[4] or '', '^%d+$') or '0'
local stream_id = redis.call('HGET', totals, 'stream_id')
if not position then
  local newest = redis.call('XREVRANGE', transitions, '+', '-', 'COUNT', 1)
  position = newest[1] and newest[1][1] or '0-0'
  number = newest[1] and number_of(newest[1]) or '0'
  redis.call('SADD', relays, ARGV[3])
end
redis.call('HSET', relay, 'holder', holder, 'until_ms', string.format('%.0f', now + tonumber(ARGV[2])), 'lease_ms', ARGV[2],
  'position', position, 'number', number, 'attempts', attempts)
if not stream_id then
  stream_id = ARGV[4]
  redis.call('HSET', totals, 'stream_id', stream_id)
end
-- The same of the pause before the next attempt.
local wait = (tonumber(known[5] or nil) or 0) - now
if wait > 0 and wait <= (tonumber(known[8] or nil) or LONGEST_PAUSE_MS) then return {} end
return { position, attempts, string.format('%.0f', now), number, stream_id }
