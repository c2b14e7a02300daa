-- Renew a worker's lease: its entries count as just delivered, so that no other worker claims them.
-- KEYS[1] pending        stream  the scope's outbox
-- ARGV[1] group
-- ARGV[2] consumer
-- ARGV[3] count          integer, the most entries: 1,000, the largest batch
-- Reply: integer: entries renewed
-- Invariant: the counts of deliveries stay as they are, and so do the entries of other workers
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[3], ARGV[2])
if held.err then return 0 end -- no such group: nothing is leased
if #held == 0 then return 0 end
local call = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}
for _, entry in ipairs(held) do call[#call + 1] = entry[1] end
for _, word in ipairs({'IDLE', 0, 'JUSTID'}) do call[#call + 1] = word end -- JUSTID: deliveries stay as they are counted
redis.call(unpack(call))
return #held
