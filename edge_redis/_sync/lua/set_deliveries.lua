-- Set the delivery counts of entries, and for how long their worker has been idle on them.
-- KEYS[1] pending        stream  the scope's outbox
-- ARGV[1] group
-- ARGV[2] consumer
-- ARGV[3] idle_ms        integer, the new idle time: how soon another worker may claim them
-- ARGV[4..] entries      two each: id, the count of tries, this one included
-- Reply: integer: entries that are still this worker's
-- Invariant: an entry that another worker has claimed stays with it. Where the lease is given back (idle_ms), the count
--            of such an entry is reset too: the other worker may be waiting for the same outage
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent, counts are set and not raised
local pending, group, consumer, idle_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
redis.call('XLEN', pending)
local kept = 0
for i = 4, #ARGV, 2 do
  local held = redis.pcall('XPENDING', pending, group, ARGV[i], ARGV[i], 1)
  if held.err then return kept end -- no such group: nothing is claimed
  local other = held[1] and held[1][2] ~= consumer and held[1]
  local tries = tonumber(ARGV[i + 1])
  if other and tonumber(idle_ms) > 0 then
    redis.call('XCLAIM', pending, group, other[2], 0, ARGV[i], 'IDLE', other[3], 'RETRYCOUNT', 1, 'JUSTID')
  elseif held[1] and not other then
    local found = redis.call('XCLAIM', pending, group, consumer, 0, ARGV[i], 'IDLE', idle_ms,
      'RETRYCOUNT', math.max(0, tries), 'JUSTID')
    kept = kept + #found
  end
end
return kept
