-- Read the scopes changed since a position in the feed, each at its present state.
-- KEYS[1] feed           zset    scope -> the number of its newest change
-- KEYS[2] feed_number    string  the feed's last number
-- KEYS[3] replica_id     string  the random id of this store
-- KEYS[4] doc            hash    prefix; a document a scope
-- KEYS[5] high_water     string  the highest number that any edge was given
-- ARGV[1] replica_id     the store that the position belongs to, '' for the beginning
-- ARGV[2] number         integer, the position
-- ARGV[3] limit          integer, the most scopes
-- ARGV[4] max_bytes      integer, after which no further scope is added
-- ARGV[5] proposed_id    the id that the store gets where it has none, or must change it
-- Reply: [string, number, number, any...]: replica_id, number, restarted (1 or 0), and for each scope its name and a list
--   of version, clock, origin, checksum, ancestor, data, signature and strategy; of a key of another type an empty list
-- Invariant: a position of another store, or one that this store never gave out, is the beginning: nothing is left out
-- Repeat: idempotent, reads, and names the store once
local feed, feed_number, id_key, docs, high_water = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local limit, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('ZCARD', feed)
redis.call('GET', feed_number)
local stored = redis.call('GET', high_water)
local highest = stored and string.find(stored, '^%d+$') and #stored <= 16 and tonumber(stored) or 0
local number = tonumber(ARGV[2])
local id = redis.call('GET', id_key)
if not id or not string.find(id, '^[%w-]+$') then -- none, or a damaged one
  id = ARGV[5]
  redis.call('SET', id_key, id)
end
local is_known = ARGV[1] == id and number <= highest
if ARGV[1] == id and not is_known then
  -- An edge has a higher position than this store remembers: it was restored from a backup. The new id shows that to
  -- the other edges, even after the feed has grown past their positions.
  id = ARGV[5]
  redis.call('SET', id_key, id)
end
if not is_known then number = 0 end

local page = redis.call('ZRANGEBYSCORE', feed, '(' .. string.format('%.0f', number), '+inf',
  'WITHSCORES', 'LIMIT', 0, limit)
local reply, bytes = {id, string.format('%.0f', number), (is_known or ARGV[1] == '') and '0' or '1'}, 0
for i = 1, #page, 2 do
  local found = redis.pcall('HMGET', docs .. ':' .. page[i], 'version', 'clock', 'origin', 'checksum', 'ancestor', 'data',
    'signature', 'strategy')
  local is_other = found.err ~= nil
  if is_other then found = {} end
  if is_other or found[1] or found[6] then
    reply[#reply + 1], reply[#reply + 2] = page[i], found
    bytes = bytes + #(found[6] or '')
  end
  reply[2] = string.format('%.0f', tonumber(page[i + 1]))
  if bytes >= max_bytes then break end
end
if tonumber(reply[2]) > highest then
  redis.call('ZREM', feed, '') -- a first write that needs no memory: a cloud that is full can still be read
  redis.call('SET', high_water, reply[2])
end
return reply
