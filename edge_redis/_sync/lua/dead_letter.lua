-- Move an entry that was given up from a scope's outbox to the dead letters.
-- KEYS[1] pending        stream  the scope's outbox
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
-- include: outbox
-- include: history
local pending, history, work, dead_letters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local scope, group, id = ARGV[1], ARGV[2], ARGV[3]

redis.call('ZSCORE', work, scope)
redis.call('XLEN', history)
redis.call('XLEN', dead_letters)
local found = redis.call('XRANGE', pending, id, id)[1]
if not found then return 0 end
redis.call('ZREM', work, '') -- a first write that needs no memory, see lease_entries.lua
local version = string.match(id, '^%d+')
local letter = {'XADD', dead_letters, '*', 'scope', scope, 'version', version, 'deliveries', ARGV[4], 'error', ARGV[5]}
for _, word in ipairs(found[2]) do letter[#letter + 1] = word end
redis.call(unpack(letter))
redis.call('XACK', pending, group, id)
redis.call('XDEL', pending, id)
update_work_index(pending, work, scope, now_ms())
record(history, tonumber(ARGV[6]), 'push', tonumber(version), '0', ARGV[5])
return 1
