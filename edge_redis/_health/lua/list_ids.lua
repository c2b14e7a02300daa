-- Read one page of the registered ids.
-- KEYS[1] heartbeats  zset  node id -> last heartbeat
-- ARGV[1] cursor      string, '0' to begin
-- ARGV[2] count       integer, about how many
-- Reply: [number, string]: the next cursor ('0' at the end), and ids, packed; an id may come twice
-- Invariant: an id that is registered throughout comes at least once
-- Repeat: idempotent, it only reads
-- include: packing
local page = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local ids = {}
for index = 1, #page[2], 2 do
  ids[#ids + 1] = page[2][index]
end
return { page[1], pack_strings(ids) }
