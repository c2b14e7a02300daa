-- Read how far a scope is.
-- KEYS[1] doc            hash    the scope's document
-- KEYS[2] pending        stream  its outbox
-- KEYS[3] history        stream  capped
-- Reply: {version, remote version, pending changes, events in the history}
-- Invariant: the four are of one moment
-- Repeat: idempotent, reads only
local found = redis.call('HMGET', KEYS[1], 'version', 'remote')
return {
  tonumber(found[1] or 0), tonumber(found[2] or 0), redis.call('XLEN', KEYS[2]), redis.call('XLEN', KEYS[3]),
}
