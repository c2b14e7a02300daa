-- Read the minutes of one series.
-- KEYS[1] epoch  string  the current epoch; absent means 0
-- KEYS[2] root   prefix  of the epochs' keys
-- KEYS[3] earlier  string  exists where another number of shards is or becomes the present one; a caller that has
--   read the record gives the prefix, which does not exist
-- ARGV[1] series     string   its name
-- ARGV[2] last       integer  the last minute to read, since 1970; empty for the current one
-- ARGV[3] minutes    integer  how many, at most a few hundred
-- ARGV[4] compacted  integer  1 to read what is there, whatever is left in write-ahead logs
-- Reply: ['EARLIER'] | ['WAL', string...] | [string, [string, [string...]]...]: the writers whose logs must be compacted
--   first; or the last minute, then each hour with its fields and counts
-- Invariant: nothing is written
-- Repeat: idempotent
-- include: clock
-- include: numbers
-- include: epoch
-- include: wal
if is_earlier(KEYS[3]) then return {'EARLIER'} end
local root = current_root(KEYS[1], KEYS[2])
local uncompacted = ARGV[4] == '0' and find_uncompacted(root)
if uncompacted then return uncompacted end
local last = tonumber(ARGV[2]) or math.floor(now_ms() / 60000)
local reply = {whole(last)}
for hour = math.floor((last - tonumber(ARGV[3]) + 1) / 60), math.floor(last / 60) do
  reply[#reply + 1] = {whole(hour), redis.call('HGETALL', root .. ':t' .. whole(hour) .. ':' .. ARGV[1])}
end
return reply
