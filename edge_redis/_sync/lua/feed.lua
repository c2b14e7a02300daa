-- Read the scopes changed since a place in the feed, each at its present state.
-- KEYS[1] changes        zset    the feed: scope -> the number of its latest change
-- KEYS[2] sequence       string  the feed's last number
-- KEYS[3] site           string  the random name of this store
-- KEYS[4] doc            hash    prefix; a document a scope
-- KEYS[5] told           string  the highest number that any edge was told
-- ARGV[1] site           the store that the place belongs to, '' for the beginning
-- ARGV[2] number         integer, the place
-- ARGV[3] limit          integer, the most scopes
-- ARGV[4] max_bytes      integer, after which no further scope is added
-- ARGV[5] candidate      the store's name, where it has none
-- Reply: {site, number, restarted (1 or 0), scope, {version, clock, origin, checksum, base, data, signature,
--        strategy}, scope, ...}; of a key of another type an empty list
-- Invariant: a place of another store, or one that this store knows nothing of, is the beginning: nothing is left out
-- Repeat: idempotent, reads, and names the store once
local changes, sequence, site, docs, told = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local limit, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('ZCARD', changes)
redis.call('GET', sequence)
local high = tonumber(redis.call('GET', told) or '0')
local number = tonumber(ARGV[2])
local name = redis.call('GET', site)
if not name then
  name = ARGV[5]
  redis.call('SET', site, name)
end
local known = ARGV[1] == name and number <= high
if ARGV[1] == name and not known then
  -- This store told more than it remembers: it is older than it was. Another name tells that to every other edge,
  -- even once as many changes have come again.
  name = ARGV[5]
  redis.call('SET', site, name)
end
if not known then number = 0 end

local page = redis.call('ZRANGEBYSCORE', changes, '(' .. string.format('%.0f', number), '+inf',
  'WITHSCORES', 'LIMIT', 0, limit)
local reply, bytes = {name, string.format('%.0f', number), (known or ARGV[1] == '') and '0' or '1'}, 0
for i = 1, #page, 2 do
  local found = redis.pcall('HMGET', docs .. ':' .. page[i], 'version', 'clock', 'origin', 'checksum', 'base', 'data',
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
if tonumber(reply[2]) > high then redis.call('SET', told, reply[2]) end
return reply
