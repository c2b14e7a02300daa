-- Record the outcome of delivering a relay's next transition, and keep the lease.
-- KEYS[1] relay       hash     see relay_lease.lua
-- ARGV[1] holder      string
-- ARGV[2] before      string, the position that this delivery began from
-- ARGV[3] attempts    integer, attempts made before this one
-- ARGV[4] position    string, of the transition
-- ARGV[5] outcome     'delivered', 'failed' for another attempt later, 'dropped' where this was the last one, or
--                     'skipped' for a transition that the relay does not deliver
-- ARGV[6] lease_ms    integer, the lease lasts this long from now
-- ARGV[7] backoff_ms  integer, pause before the next attempt
-- ARGV[8] number      integer, of the transition, or ''
-- ARGV[9] lost        integer, transitions before this one that the stream's cap removed
-- ARGV[10] error      string, why it failed
-- Reply: integer: 1 where this holder goes on to the next, else 0
-- Invariant: the position only moves forward; every transition is delivered, dropped, skipped or lost once
-- Layout: not created, since it only changes existing keys
-- Moved: allowed, since relays deliver what is left in the stream of a shard whose nodes were moved
-- Repeat: idempotent, a position or a count of attempts that has moved on is not the given one
-- include: clock
local relay, holder, before, attempts = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local position, outcome, lease_ms, lost = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[9])

local now = now_ms()
local known = redis.call('HMGET', relay, 'holder', 'position', 'attempts')
if known[1] ~= holder then return 0 end
if known[2] == position then return 1 end
if known[2] ~= before or (known[3] or '0') ~= attempts then return 0 end

redis.call('HSET', relay, 'until_ms', string.format('%.0f', now + lease_ms))
if ARGV[10] ~= '' then redis.call('HSET', relay, 'last_error', ARGV[10]) end
if outcome == 'failed' then
  redis.call('HSET', relay, 'attempts', string.format('%.0f', tonumber(attempts) + 1),
    'due_ms', string.format('%.0f', now + tonumber(ARGV[7])), 'pause_ms', ARGV[7])
  return 0
end
redis.call('HSET', relay, 'position', position, 'number', ARGV[8], 'attempts', '0', 'due_ms', '0')
if lost > 0 then redis.call('HINCRBY', relay, 'lost', lost) end
if outcome ~= 'skipped' then redis.call('HINCRBY', relay, outcome, 1) end
return 1
