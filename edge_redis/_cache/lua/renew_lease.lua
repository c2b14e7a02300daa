-- Extend a lease while its holder computes.
-- KEYS[1] lease  string   the holder's token
-- ARGV[1] token  string   of the caller
-- ARGV[2] ms     integer  how long it lasts from now
-- Reply: integer: 1 where the caller holds the lease
-- Invariant: only the holder's own lease is extended
-- Layout: not created, since it only changes existing keys
-- Repeat: idempotent: it is extended from a later now
local lease = redis.call('GET', KEYS[1])
if lease ~= ARGV[1] and lease ~= ARGV[1] .. '+' then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
