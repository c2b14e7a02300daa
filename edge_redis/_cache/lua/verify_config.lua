-- Store or compare the options that all caches of the namespace share, for a cache of several shards.
-- KEYS[1] prefix  string  of every key of the shard (see keys.py)
-- ARGV[1] config  string  fingerprint of the caller's options
-- Reply: string: the fingerprint that is stored now: the caller's, unless entries exist under another
-- Invariant: a fingerprint does not change while there are entries under it
-- Repeat: idempotent
-- include: clock
-- include: index
if has_other_config(ARGV[1]) then return CONFIG end
redis.call('HSET', STATS, 'config', ARGV[1])
return ARGV[1]
