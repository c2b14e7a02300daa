-- End the copying of another shard to this one: take what it has of all its scopes, once, and nothing more from then on.
-- KEYS[1] received       hash    source -> the token of the process that copies, or its move once
--                                done; `done` -> how many sources are
-- ARGV[1] source         the shard that is copied
-- ARGV[2] token          of the process: the value of the shard's key `moved`, a colon, and a random word
-- ARGV[3..] words        three of each: kind, name and value
--                        cursor: of workers with the patterns `name` ('' for all scopes), '' for the beginning
--                        reoffer: such workers offer all scopes again; the value is not used
--                        patterns: a field of `patterns`
--                        total: an amount to be added to a counter of `totals`
--                        purged: the version and the clock of the source's gc_watermark
--                        feed: what was moved here of the feed with the id `name` (include/feed_sources.lua)
-- Reply: integer: 1, or 0 where another process copies
-- Invariant: no cursor is past a state that a scope of this shard has not had: a worker that does not know of the source
--   saves none from now on (save_cursor.lua)
-- Layout: unchecked, since the shard is not in use yet
-- Repeat: idempotent
local move = string.match(ARGV[2], '^[^:]*')
local source, tag = redis.call('HGET', KEYS[1], ARGV[1]), string.match(KEYS[1], '^[^}]*}')
if source == move then return 1 end
if source ~= ARGV[2] then return 0 end
local function key_of(kind, digest)
  return tag .. ':' .. kind .. (digest == '' and '' or ':' .. digest)
end
local take = {
  cursor = function(digest, value)
    if value == '' then redis.call('DEL', key_of('cursor', digest)) else redis.call('SET', key_of('cursor', digest), value) end
    if digest ~= '' then redis.call('SADD', tag .. ':cursors', digest) end
  end,
  reoffer = function(digest) redis.call('SET', key_of('reoffer', digest), '- 0') end,
  patterns = function(name, value) redis.call('HSETNX', tag .. ':patterns', name, value) end,
  feed = function(name, value) redis.call('HSET', tag .. ':sources', name, value) end,
  total = function(name, value) redis.call('HINCRBY', tag .. ':totals', name, value) end,
  purged = function(version, clock)
    local key = tag .. ':gc_watermark'
    local own = redis.call('HMGET', key, 'version', 'clock')
    if (tonumber(own[1] or 0) or 0) < (tonumber(version) or 0) then redis.call('HSET', key, 'version', version) end
    if (own[2] or '') < clock then redis.call('HSET', key, 'clock', clock) end
  end,
}
for i = 3, #ARGV, 3 do take[ARGV[i]](ARGV[i + 1], ARGV[i + 2]) end
redis.call('HDEL', KEYS[1], 'letters ' .. ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], move)
redis.call('HINCRBY', KEYS[1], 'done', '1')
return 1
