-- Read how often some series were invoked in each of the last minutes.
-- KEYS[1] epoch  string  the current epoch; absent means 0
-- KEYS[2] root   prefix  of the epochs' keys
-- KEYS[3] earlier  string  exists where another number of shards is or becomes the present one; a caller that has
--   read the record gives the prefix, which does not exist
-- ARGV[1] minutes    integer  how many, the current one included
-- ARGV[2] compacted  integer  1 to read what is there, whatever is left in write-ahead logs
-- ARGV[3..] series   string   their names
-- Reply: ['EARLIER'] | ['WAL', string...] | [string...]: the writers whose logs must be compacted first; or the last
--   minute, since 1970, then for each series one text, the count of each minute, oldest first
-- Invariant: nothing is written
-- Repeat: idempotent
-- include: clock
-- include: numbers
-- include: epoch
-- include: wal
if is_earlier(KEYS[3]) then return {'EARLIER'} end
local root = current_root(KEYS[1], KEYS[2])
local uncompacted = ARGV[2] == '0' and find_uncompacted(root)
if uncompacted then return uncompacted end
local last = math.floor(now_ms() / 60000)
local hours = {}
for minute = last - tonumber(ARGV[1]) + 1, last do
  local hour = math.floor(minute / 60)
  if #hours == 0 or hours[#hours].hour ~= hour then
    hours[#hours + 1] = {hour = hour, prefix = root .. ':t' .. whole(hour) .. ':', fields = {}}
  end
  local fields = hours[#hours].fields
  fields[#fields + 1] = whole(minute % 60) .. 'n'
end
local reply = {whole(last)}
for at = 3, #ARGV do
  local counts = {}
  for _, hour in ipairs(hours) do
    local found = redis.call('HMGET', hour.prefix .. ARGV[at], unpack(hour.fields))
    for index = 1, #hour.fields do counts[#counts + 1] = found[index] or '0' end
  end
  reply[#reply + 1] = table.concat(counts, ' ')
end
return reply
