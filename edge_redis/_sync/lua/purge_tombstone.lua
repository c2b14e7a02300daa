-- Remove a deleted scope with its history, where the delete is still its newest state.
-- KEYS[1] doc            hash    the scope's document
-- KEYS[2] pending        stream  its outbox (edge)
-- KEYS[3] history        stream  capped
-- KEYS[4] conflicts      stream  capped
-- KEYS[5] scopes         hash    the settings of each scope (edge)
-- KEYS[6] feed           zset    scope -> the number of its newest change (cloud)
-- KEYS[7] gc_watermark   hash    version and clock above which new scopes begin
-- KEYS[8] purged         zset    scope -> the latest clock that it had, of the newest MAX_PURGED (cloud)
-- ARGV[1] scope
-- ARGV[2] expected       the stamp of the delete
-- Reply: integer | 'CORRUPT *': 1, or 0 where another state is there, or a change waits in the outbox; the document is
--   damaged
-- Invariant: only a delete that the cloud has is removed; a scope that is created again begins above it
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent: nothing is there then
-- include: document
-- include: scope_part
local doc, pending, history, conflicts, scopes, feed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local gc_watermark, purged_scopes, scope = KEYS[7], KEYS[8], ARGV[1]
local MAX_PURGED = 100000
local current, damage = read_document(doc)
if damage then return damage end
if not current or current.stamp ~= ARGV[2] or redis.call('XLEN', pending) > 0 then return 0 end
redis.call('HEXISTS', scopes, scope) -- a key of another type stops the script before anything is removed
redis.call('ZCARD', purged_scopes)
local part = part_of(string.match(feed, '^[^}]*}'), scope)
if part then redis.call('ZCARD', part) end
local is_cloud = redis.call('ZSCORE', feed, scope)
local purged = redis.call('HMGET', gc_watermark, 'version', 'clock')
redis.call('HSET', gc_watermark, 'version', integer(math.max(tonumber(purged[1] or 0) or 0, current.version)),
  'clock', is_clock(purged[2]) and earlier(current.latest_clock, purged[2]) and purged[2] or current.latest_clock)
if is_cloud then -- a state from before the delete, sent again, must not bring the scope back
  redis.call('ZADD', purged_scopes, tonumber(current.latest_clock), scope)
  redis.call('ZREMRANGEBYRANK', purged_scopes, 0, -MAX_PURGED - 1)
end
redis.call('ZREM', feed, scope)
if part then redis.call('ZREM', part, scope) end
redis.call('HDEL', scopes, scope)
redis.call('DEL', doc, history, conflicts)
return 1
