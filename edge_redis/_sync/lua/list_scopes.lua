-- List some of the scopes with their versions and the lengths of their outboxes and conflicts.
-- KEYS[1] scopes     hash    by scope
-- KEYS[2] doc        prefix  of the scopes' documents
-- KEYS[3] pending    prefix  of their outboxes
-- KEYS[4] conflicts  prefix  of the streams of conflicts
-- ARGV[1] cursor  string   0 to begin with, then what the last call replied
-- ARGV[2] count   integer  about how many
-- Reply: [string, string]: the next cursor (0 at the end), and, packed, four for each scope: its name, its version, '0' for
--   none, pending changes, and conflicts; a scope may be in two replies
-- Invariant: nothing is written
-- Repeat: idempotent, reads only
-- include: packing
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found, reply = page[2], {}
for at = 1, #found, 2 do
  local scope = found[at]
  reply[#reply + 1] = scope
  reply[#reply + 1] = redis.call('HGET', KEYS[2] .. scope, 'version') or '0'
  reply[#reply + 1] = tostring(redis.call('XLEN', KEYS[3] .. scope))
  reply[#reply + 1] = tostring(redis.call('XLEN', KEYS[4] .. scope))
end
return {page[1], pack_strings(reply)}
