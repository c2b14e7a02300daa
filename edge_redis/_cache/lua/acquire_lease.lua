-- Read an entry that was missed, or take the lease to compute it.
-- KEYS[1] prefix    string   of every key of the shard (see keys.py)
-- ARGV[1] key       string   entry key
-- ARGV[2] token     string   of the caller
-- ARGV[3] lease_ms  integer  duration of the lease
-- ARGV[4] stale_ms  integer  an entry with no more than this left to live is stale
-- ARGV[5] has_tags  integer  1 where the entry will carry tags
-- Reply: [string | nil, integer, string, string | nil]: raw value; 1 where the caller holds the lease; the
--   epoch; the error of the last computation
-- Invariant: at most one token holds the lease of a key
-- Repeat: idempotent: the token holds the lease already
-- include: index
-- include: leases
local key, token = ARGV[1], ARGV[2]
local has_tags = ARGV[5] == '1'

assert_types()
local value = redis.call('GET', value_of(key))
if value and redis.call('PTTL', value_of(key)) > tonumber(ARGV[4]) then return {value, 0, epoch(has_tags), false} end
local lease = redis.call('GET', lease_of(key))
if lease and string.sub(lease, 1, 1) == '!' then
  return {value, 0, epoch(has_tags), not value and string.sub(lease, 2)}
end
if lease and lease ~= '' and lease ~= token then return {value, 0, epoch(has_tags), false} end
redis.call('SET', lease_of(key), token, 'PX', ARGV[3])
return {value, 1, epoch(has_tags), false}
