-- Record the outcome of delivering a relay's next transition, and keep the lease.
-- KEYS[1] relay         hash     see relay_lease.lua
-- ARGV[1] holder        string
-- ARGV[2] before        string, the position that this delivery began from
-- ARGV[3] attempts      integer, attempts made before this one
-- ARGV[4] position      string, of the transition
-- ARGV[5] outcome       'delivered', 'failed', or 'skipped' for a transition that the relay does not deliver
-- ARGV[6] lease_ms      integer, the lease lasts this long from now
-- ARGV[7] max_attempts  integer, after these the transition is dropped
-- ARGV[8] backoff_ms    integer, pause before the next attempt
-- Reply: integer: 1 where this holder goes on to the next, else 0
-- Invariant: the position only moves forward; every transition is delivered, dropped or skipped once
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent, a position or a count of attempts that has moved on is not the given one
-- include: clock
local relay, holder, before, attempts = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local position, outcome, lease_ms = ARGV[4], ARGV[5], tonumber(ARGV[6])

local now = now_ms()
local known = redis.call('HMGET', relay, 'holder', 'position', 'attempts')
if known[1] ~= holder then return 0 end
if known[2] == position then return 1 end
if known[2] ~= before or (known[3] or '0') ~= attempts then return 0 end

redis.call('HSET', relay, 'until_ms', string.format('%.0f', now + lease_ms))
if outcome == 'failed' and tonumber(attempts) + 1 < tonumber(ARGV[7]) then
  redis.call('HSET', relay, 'attempts', string.format('%.0f', tonumber(attempts) + 1),
    'due_ms', string.format('%.0f', now + tonumber(ARGV[8])))
  return 0
end
redis.call('HSET', relay, 'position', position, 'attempts', '0', 'due_ms', '0')
if outcome ~= 'skipped' then redis.call('HINCRBY', relay, outcome == 'failed' and 'dropped' or outcome, 1) end
return 1
