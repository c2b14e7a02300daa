-- Renew a worker's lease: its entries count as just delivered, so that no other worker claims them.
-- KEYS[1] pending        stream  the scope's outbox
-- ARGV[1] group
-- ARGV[2] consumer
-- ARGV[3] count          integer, the most entries
-- Reply: integer: entries renewed
-- Invariant: the counts of deliveries stay as they are, and so do the entries of other workers
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[3], ARGV[2])
if held.err then return 0 end -- no such group: nothing is leased
for _, entry in ipairs(held) do
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry[1], 'IDLE', 0, 'RETRYCOUNT', entry[4], 'JUSTID')
end
return #held
