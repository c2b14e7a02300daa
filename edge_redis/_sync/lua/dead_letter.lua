-- Move an entry that was given up from a scope's outbox to the dead letters.
-- KEYS[1] pending        stream  the scope's outbox; beside it its document, its bodies and its field of pending_bytes
-- KEYS[2] history        stream  capped
-- KEYS[3] work           zset    scopes with changes in their outbox
-- KEYS[4] dead_letters   stream  changes that were given up
-- ARGV[1] scope
-- ARGV[2] group
-- ARGV[3] id             the entry
-- ARGV[4] deliveries     integer, how often it was tried
-- ARGV[5] error          why it failed the last time
-- ARGV[6] max_history    integer
-- Reply: integer: entries moved, 1, or 0 where it is not there any more
-- Invariant: at any moment the entry is in the outbox or among the dead letters
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent, the entry is no longer in the outbox
-- include: clock
-- include: document
-- include: splice
-- include: splice_chain
-- include: outbox_bodies
-- include: outbox_append
-- include: outbox_entries
-- include: hint_tag
-- include: edge_hint
-- include: work_score
-- include: outbox
-- include: history
local pending, history, work, dead_letters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local scope, group, id = ARGV[1], ARGV[2], ARGV[3]

redis.call('ZSCORE', work, scope)
redis.call('XLEN', history)
redis.call('XLEN', dead_letters)
local entry = read_entry(redis.call('XRANGE', pending, id, id)[1])
if not entry then return 0 end
local version, body, _, last = entry.version, body_of(pending, entry), read_positions(pending)
local oldest = entry_from(pending, '0')
local left = entry_from(pending, integer(tonumber(version) + 1))
local removal = left and plan_removal(pending, left)
redis.call('ZREM', work, '') -- a first write that needs no memory, see lease_entries.lua
local letter = {'XADD', dead_letters, '*', 'scope', scope, 'version', version, 'deliveries', ARGV[4], 'error', ARGV[5]}
local function add(name, value)
  if value then letter[#letter + 1], letter[#letter + 2] = name, value end
end
add('data', body) -- none where a splice is damaged
for _, name in ipairs({'checksum', 'clock', 'origin', 'ancestor', 'is_delta', 'signature'}) do add(name, entry[name]) end
redis.call(unpack(letter))
redis.call('XACK', pending, group, id)
redis.call('XDEL', pending, id)
local _, bodies = keys_beside(pending)
redis.call('HDEL', bodies, version)
if removal and removal.body then redis.call('HSET', bodies, left.version, removal.body) end
if oldest.id == id then update_work_index(pending, work, scope, now_ms(), removal, last) end
record(history, tonumber(ARGV[6]), 'push', tonumber(version), '0', ARGV[5])
return 1
