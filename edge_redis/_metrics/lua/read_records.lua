-- Read the latest records of a stream, backwards from a position.
-- KEYS[1] epoch  string  the current epoch; absent means 0
-- KEYS[2] root   prefix  of the epochs' keys
-- KEYS[3] earlier  string  exists where another number of shards is or becomes the present one; a caller that has
--   read the record gives the prefix, which does not exist
-- ARGV[1] before   string   the id of the entry to begin before; empty to begin with the newest
-- ARGV[2] records  integer  how many are wanted
-- ARGV[3] stream   string   recent or errors
-- Reply: ['EARLIER'] | [string, string...]: the position to go on from (empty where there is nothing older), then the
--   entries, newest first, each as its id and its records; when they hold fewer records than were wanted, older entries hold the rest
-- Invariant: nothing is written
-- Repeat: idempotent
-- include: epoch
local MAX_ENTRIES = 250
if is_earlier(KEYS[3]) then return {'EARLIER'} end
local root = current_root(KEYS[1], KEYS[2])
local wanted = tonumber(ARGV[2])
local position = ARGV[1]
local reply, found = {''}, 0
for _ = 1, MAX_ENTRIES do
  local from = position == '' and '+' or '(' .. position
  local entry = redis.call('XREVRANGE', root .. ':' .. ARGV[3], from, '-', 'COUNT', 1)[1]
  position = entry and entry[1] or ''
  if not entry then break end
  reply[#reply + 1] = entry[1]
  reply[#reply + 1] = entry[2][4] or ''
  found = found + (tonumber(entry[2][2]) or 0)
  if found >= wanted then break end
end
reply[1] = position
return reply
