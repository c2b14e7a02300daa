-- Take or keep a relay's lease, and return where it stands.
-- KEYS[1] relay        hash     holder, until_ms, position, attempts, due_ms, delivered, dropped
-- KEYS[2] transitions  stream   state changes
-- ARGV[1] holder       string
-- ARGV[2] lease_ms     integer, the lease lasts this long from now
-- Reply: [string, number] | []: position and attempts made at the next transition; none for a stand-by, or not yet due
-- Invariant: one holder at a time; a relay begins with what comes after its first call
-- Repeat: idempotent, the holder stays the holder
-- include: clock
local relay, transitions, holder = KEYS[1], KEYS[2], ARGV[1]

local now = now_ms()
local known = redis.call('HMGET', relay, 'holder', 'until_ms', 'position', 'attempts', 'due_ms')
if known[1] and known[1] ~= holder and now < tonumber(known[2]) then return {} end
local position = known[3]
if not position then
  local newest = redis.call('XREVRANGE', transitions, '+', '-', 'COUNT', 1)
  position = newest[1] and newest[1][1] or '0-0'
end
redis.call('HSET', relay, 'holder', holder, 'until_ms', string.format('%.0f', now + tonumber(ARGV[2])),
  'position', position)
if now < tonumber(known[5] or 0) then return {} end
return { position, known[4] or '0' }
