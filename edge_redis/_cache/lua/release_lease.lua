-- Give up a lease, so that another caller may compute; the error of the computation may be kept.
-- KEYS[1] lease    string   the holder's token
-- ARGV[1] token    string   of the caller
-- ARGV[2] failure  string   error to return to other callers, the empty string for none
-- ARGV[3] ms       integer  how long to keep it
-- ARGV[4] for_all  integer  1 to return it to all callers, 0 to those alone that waited for this lease
-- Reply: integer: 1 where the caller held the lease
-- Invariant: only the holder's own lease is given up
-- Layout: not created, since it only changes existing keys
-- Repeat: idempotent: the lease is gone already
local lease = redis.call('GET', KEYS[1])
local is_awaited = lease == ARGV[1] .. '+'
if lease ~= ARGV[1] and not is_awaited then return 0 end
if ARGV[2] == '' or not (is_awaited or ARGV[4] == '1') then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], '!' .. ARGV[1] .. ' ' .. ARGV[4] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1
