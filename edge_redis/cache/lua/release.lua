-- Give up a lease, so that another may compute.
-- KEYS[1] lease  string  the holder's token
-- ARGV[1] token  of the caller
-- Reply: integer, 1 where it was the caller's
-- Invariant: none but the holder's own lease is removed
-- Repeat: idempotent: it is gone already
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
