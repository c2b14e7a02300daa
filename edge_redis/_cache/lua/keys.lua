-- Read a part of the keys of live entries.
-- KEYS[1] expiry  zset     entry key -> expiry
-- ARGV[1] cursor  string   of the page, 0 for the first
-- ARGV[2] count   integer  approximate number of keys
-- Reply: [string...]: the next cursor, 0 at the end; then keys
-- Invariant: none, it only reads
-- Repeat: idempotent
-- include: clock
local now = now_ms()

local page = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local reply = {page[1]}
for at = 1, #page[2], 2 do
  if tonumber(page[2][at + 1]) >= now then reply[#reply + 1] = page[2][at] end
end
return reply
