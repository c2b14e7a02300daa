-- Read some series.
-- KEYS[1] epoch  string  the current epoch; absent means 0
-- KEYS[2] root   prefix  of the epochs' keys
-- KEYS[3] earlier  string  exists where another number of shards is or becomes the present one; a caller that has
--   read the record gives the prefix, which does not exist
-- ARGV[1] buckets    integer  1 to read them, 0 for the sums alone
-- ARGV[2] compacted  integer  1 to read what is there, whatever is left in write-ahead logs
-- ARGV[3..] series   string   their names
-- Reply: ['EARLIER'] | ['WAL', string...] | [string...]: the writers whose logs must be compacted first; or for each series its
--   fields and values, packed, or for the sums alone one text, n e w ms ns
-- Invariant: nothing is written
-- Repeat: idempotent
-- include: epoch
-- include: packing
-- include: wal
if is_earlier(KEYS[3]) then return {'EARLIER'} end
local root = current_root(KEYS[1], KEYS[2])
local uncompacted = ARGV[2] == '0' and find_uncompacted(root)
if uncompacted then return uncompacted end
local reply = {}
for at = 3, #ARGV do
  local key = root .. ':s:' .. ARGV[at]
  if ARGV[1] == '1' then
    reply[#reply + 1] = pack_strings(redis.call('HGETALL', key))
  else
    local sums = redis.call('HMGET', key, 'n', 'e', 'w', 'ms', 'ns')
    for number = 1, 5 do sums[number] = sums[number] or '0' end
    reply[#reply + 1] = table.concat(sums, ' ')
  end
end
return reply
