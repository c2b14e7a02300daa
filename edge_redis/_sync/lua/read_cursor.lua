-- Read how far an edge has read the cloud's feed, and whether the patterns of a worker are registered.
-- KEYS[1] replica_id     string  the random id of this edge's store
-- KEYS[2] cursor         string  its position in the feed
-- KEYS[3] reoffer        string  how far the scopes were offered again to a cloud that lost data
-- KEYS[4] server         string  the run of the server
-- KEYS[5] patterns       hash    those of its workers, see push_patterns.py
-- ARGV[1] proposed_id    the beginning of the id that the store gets where it has none
-- ARGV[2] push           the patterns of the scopes that the worker pushes
-- Reply: [string, string, string, string]: replica_id, the cursor, '' for the beginning, the position of the offer, ''
--   for none, and 1 where the worker is to register its patterns, else 0
-- Invariant: the cursor belongs to the incarnation that the id names
-- Repeat: idempotent, reads, and names each run of the store once
-- include: replica_id
-- include: server_run
local REFRESH_MS = 3600 * 1000
local cursor, time = redis.call('GET', KEYS[2]), redis.call('TIME')
local stored_id, is_stored = read_replica_id(KEYS[1], ARGV[1], true)
local id, server_record = read_run_id(stored_id, KEYS[4], ARGV[1], time)
if not is_stored or id ~= stored_id then redis.call('SET', KEYS[1], id) end
if server_record then redis.call('SET', KEYS[4], server_record) end
local own, at = 'push ' .. ARGV[2], time[1] * 1000 + math.floor(time[2] / 1000)
local registered = redis.call('HGET', KEYS[5], own)
if not registered and own == 'push 1:*' and redis.call('HLEN', KEYS[5]) == 0 then -- as if none were registered
  registered = string.format('%.0f', at)
  redis.pcall('HSET', KEYS[5], own, registered)
end
local since = tonumber(registered and string.match(registered, '^%d+$') or nil)
return {id, cursor or '', redis.call('GET', KEYS[3]) or '', since and at - since < REFRESH_MS and '0' or '1'}
