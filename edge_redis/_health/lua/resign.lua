-- Give up the watch, or a relay's turn, so that another takes it at once.
-- KEYS[1] turn    hash    who watches, or who relays (see duty.lua and relay.lua)
-- ARGV[1] holder  string
-- Reply: integer, 1, or 0 where it was another's
-- Invariant: the fence stays, since it must never go back
-- Repeat: idempotent
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'holder', 'until_ms')
return 1
