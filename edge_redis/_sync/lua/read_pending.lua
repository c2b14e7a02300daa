-- Read a page of a scope's outbox.
-- KEYS[1] pending        stream  the scope's outbox; beside it its document and its bodies (see keys.py)
-- ARGV[1] after          integer, the version that was read last, -1 at the beginning
-- ARGV[2] known          the checksum of that version's body
-- ARGV[3] count          integer, the most entries
-- Reply: [string...]: entries, oldest first, each a leased entry as in include/wire.lua
-- Invariant: each entry has its body, or the splice that makes it of the one before
-- Repeat: idempotent, reads only
local function integer(number) -- as in include/document.lua, which writes
  return string.format('%.0f', number)
end
-- include: splice
-- include: splice_chain
-- include: outbox_bodies
-- include: leased
local pending, known, count = KEYS[1], ARGV[2], tonumber(ARGV[3])
local reply = {}
for _, found in ipairs(redis.call('XRANGE', pending, integer(ARGV[1] + 1) .. '-0', '+', 'COUNT', count)) do
  local entry = read_entry(found)
  reply[#reply + 1] = format_entry(pending, entry, '0', known)
  known = entry.checksum
end
return reply
