-- Forget a scope that was deleted, where that is still the last that was said of it.
-- KEYS[1] doc            hash    the scope's document
-- KEYS[2] pending        stream  its outbox (edge)
-- KEYS[3] history        stream  capped
-- KEYS[4] conflicts      stream  capped
-- KEYS[5] scopes         hash    each scope's settings (edge)
-- KEYS[6] changes        zset    the feed (cloud)
-- KEYS[7] floor          hash    version and clock above which scopes begin
-- ARGV[1] scope
-- ARGV[2] expected       the stamp of the delete
-- Reply: 1, or 0 where another state is there, or something waits in the outbox
-- Invariant: only a delete is forgotten, and one that has gone up; a scope created again comes after it
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent: nothing is there then
-- include: document
local doc, pending, history, conflicts, scopes, changes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local floor, scope = KEYS[7], ARGV[1]
local current = read_document(doc)
if not current or current.stamp ~= ARGV[2] or redis.call('XLEN', pending) > 0 then return 0 end
redis.call('HEXISTS', scopes, scope) -- a key of another type stops the script before anything is gone
redis.call('ZSCORE', changes, scope)
local lowest = redis.call('HMGET', floor, 'version', 'clock')
redis.call('HSET', floor, 'version', integer(math.max(tonumber(lowest[1] or 0), current.version)),
  'clock', lowest[2] and earlier(current.tick, lowest[2]) and lowest[2] or current.tick)
redis.call('ZREM', changes, scope)
redis.call('HDEL', scopes, scope)
redis.call('DEL', doc, history, conflicts)
return 1
