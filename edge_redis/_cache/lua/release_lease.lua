-- Give up a lease, so that another caller may compute; or keep the error of the computation.
-- KEYS[1] lease    string   the holder's token
-- ARGV[1] token    string   of the caller
-- ARGV[2] failure  string   error to return to callers that wait, the empty string for none
-- ARGV[3] ms       integer  how long to keep it
-- Reply: integer: 1 where the caller held the lease
-- Invariant: only the holder's own lease is given up
-- Layout: not created, since it only changes existing keys
-- Repeat: idempotent: the lease is gone already
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], '!' .. ARGV[2], 'PX', ARGV[3])
return 1
