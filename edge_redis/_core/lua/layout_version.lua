-- Return the layout version of a shard; where there is none, set it if asked to.
-- KEYS[1] layout   string   the version
-- ARGV[1] version  integer  the version that the caller writes
-- ARGV[2] creates  0 or 1   whether to set it where there is none
-- Reply: string | nil: the version that stands, nil where there is none
-- Invariant: a version that stands is never changed
-- Repeat: idempotent
local found = redis.call('GET', KEYS[1])
if found or ARGV[2] == '0' then return found end
-- Where the server refuses this write (no memory, a replica), the caller's own write says why.
redis.pcall('SET', KEYS[1], ARGV[1])
return ARGV[1]
