-- Give up a lease, so that another may compute; or leave word that computing failed.
-- KEYS[1] lease  string  the holder's token
-- ARGV[1] token    of the caller
-- ARGV[2] failure  what is to be told those who wait, the empty string for nothing
-- ARGV[3] ms       integer, how long it is to be told
-- Reply: integer, 1 where it was the caller's
-- Invariant: none but the holder's own lease is given up
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent: it is gone already
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], '!' .. ARGV[2], 'PX', ARGV[3])
return 1
