-- Read entries with the time they have to live, for one who would keep them at hand.
-- KEYS[1..] values  string  entries
-- Reply: for each its raw value or false, and its milliseconds to live
-- Invariant: none, it only reads
-- Repeat: idempotent
local reply = {}
for at, key in ipairs(KEYS) do
  reply[2 * at - 1] = redis.call('GET', key)
  reply[2 * at] = redis.call('PTTL', key)
end
return reply
