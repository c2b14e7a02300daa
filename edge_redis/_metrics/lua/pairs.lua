-- List some of the pairs that have a series, and count what is there.
-- KEYS[1] generation  string  the generation; absent means 0
-- KEYS[2] root        prefix  of the generations' keys
-- ARGV[1] cursor  string   0 to begin with, then what the last call replied
-- ARGV[2] count   integer  about how many
-- ARGV[3] settled  integer  1 to read what is there, whatever is left to be added
-- Reply: an array: the next cursor (0 at the end), names, how many pairs there are, and how many
--   records were counted under `_other` because there were too many; or {'LOG', slot...} where
--   something is left to be added
-- Invariant: nothing is written
-- Repeat: idempotent
-- include: series
-- include: log
local root = current_root(KEYS[1], KEYS[2])
local left = ARGV[3] == '0' and unsettled(root)
if left then return left end
local found = redis.call('SSCAN', root .. ':pairs', ARGV[1], 'COUNT', ARGV[2])
local overflow = redis.call('HGET', root .. ':meta', 'overflow') or '0'
return {found[1], found[2], redis.call('SCARD', root .. ':pairs'), overflow}
