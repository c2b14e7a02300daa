-- Read entries and their TTLs, for a near cache.
-- KEYS[1..] values  string  entries
-- Reply: [any...]: for each entry its raw value or nil, and its TTL in ms
-- Invariant: none, it only reads
-- Repeat: idempotent
local reply = {}
for at, key in ipairs(KEYS) do
  reply[2 * at - 1] = redis.call('GET', key)
  reply[2 * at] = redis.call('PTTL', key)
end
return reply
