-- Read the versions of a scope and the lengths of its outbox and history.
-- KEYS[1] doc            hash    the scope's document
-- KEYS[2] pending        stream  its outbox
-- KEYS[3] history        stream  capped
-- Reply: [string, string, integer, integer]: version and peer version as they are stored, '0' for none, pending changes,
--   and events in the history
-- Invariant: the four are of one moment
-- Repeat: idempotent, reads only
local found = redis.call('HMGET', KEYS[1], 'version', 'peer_version')
return {found[1] or '0', found[2] or '0', redis.call('XLEN', KEYS[2]), redis.call('XLEN', KEYS[3])}
