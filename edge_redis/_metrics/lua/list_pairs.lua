-- List some of the pairs that have a series, and count all of them.
-- KEYS[1] epoch  string  the current epoch; absent means 0
-- KEYS[2] root   prefix  of the epochs' keys
-- KEYS[3] earlier  string  exists where another number of shards is or becomes the present one; a caller that has
--   read the record gives the prefix, which does not exist
-- ARGV[1] cursor     string   0 to begin with, then what the last call replied
-- ARGV[2] count      integer  about how many
-- ARGV[3] compacted  integer  1 to read what is there, whatever is left in write-ahead logs
-- Reply: ['EARLIER'] | ['WAL', string...] | [string, string, integer, string, integer]: the writers whose logs must be compacted
--   first; or the next cursor (0 at the end), names, packed, how many pairs there are, and how many records were
--   counted under `_other` because there were too many, and 1 where that pair is one of them
-- Invariant: nothing is written
-- Repeat: idempotent
-- include: epoch
-- include: packing
-- include: wal
if is_earlier(KEYS[3]) then return {'EARLIER'} end
local root = current_root(KEYS[1], KEYS[2])
local uncompacted = ARGV[3] == '0' and find_uncompacted(root)
if uncompacted then return uncompacted end
local found = redis.call('SSCAN', root .. ':pairs', ARGV[1], 'COUNT', ARGV[2])
local overflow = redis.call('HGET', root .. ':meta', 'overflow') or '0'
local has_other = redis.call('SISMEMBER', root .. ':pairs', '6:_other_other')
return {found[1], pack_strings(found[2]), redis.call('SCARD', root .. ':pairs'), overflow, has_other}
