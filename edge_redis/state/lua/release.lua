-- Give entries back undelivered: the worker could not try them.
-- KEYS[1] pending        stream  the scope's outbox
-- ARGV[1] group
-- ARGV[2] consumer
-- ARGV[3] idle_ms        integer, what their idle time becomes: how soon another worker may claim them
-- ARGV[4..] entries      two each: id, deliveries
-- Reply: integer, entries given back
-- Invariant: an entry that was not tried does not come nearer to the dead letters
-- Repeat: idempotent, the count is set and not lowered
local pending, group, consumer, idle_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
redis.call('XLEN', pending)
local given = 0
for i = 4, #ARGV, 2 do
  local found = redis.pcall('XCLAIM', pending, group, consumer, 0, ARGV[i], 'IDLE', idle_ms,
    'RETRYCOUNT', math.max(0, tonumber(ARGV[i + 1]) - 1), 'JUSTID')
  if found.err then return given end -- no such group: nothing is claimed
  given = given + #found
end
return given
