-- Say how a cache of several shards is kept, at a place that all caches of the namespace look at.
-- KEYS[1] room  prefix  of every key of the shard (see keys.py)
-- ARGV[1] layout  who goes first, and what else all caches of the namespace agree on
-- Reply: the layout that stands now: the one given, unless entries are kept under another
-- Invariant: a layout stays while there are entries under it
-- Repeat: idempotent
-- include: clock
-- include: index
if is_laid_out_otherwise(ARGV[1]) then return LAYOUT end
redis.call('HSET', STATS, 'layout', ARGV[1])
return ARGV[1]
