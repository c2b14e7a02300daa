-- Release a lease, so that another holder can take it at once.
-- KEYS[1] lease   hash    of a leader or of a relay (see leader_lease.lua and relay_lease.lua)
-- ARGV[1] holder  string
-- Reply: integer: 1, or 0 where another holds it
-- Invariant: the term stays, since it must never go back
-- Layout: not created, since it only changes existing keys
-- Moved: allowed, since relays deliver what is left in the stream of a shard whose nodes were moved
-- Repeat: idempotent
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'holder', 'until_ms')
return 1
