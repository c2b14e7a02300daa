-- Read how far an edge has read the cloud's feed.
-- KEYS[1] replica_id     string  the random id of this edge's store
-- KEYS[2] cursor         string  its position in the feed
-- KEYS[3] reoffer        string  how far the scopes were offered again to a cloud that lost data
-- ARGV[1] proposed_id    the beginning of the id that the store gets where it has none
-- Reply: [string, string, string]: replica_id, the cursor, '' for the beginning, and the position of the offer, '' for none
-- Invariant: the cursor belongs to the incarnation that the id names
-- Repeat: idempotent, reads, and names the store once
-- include: replica_id
local cursor = redis.call('GET', KEYS[2])
local id, is_stored = read_replica_id(KEYS[1], ARGV[1])
if not is_stored then redis.call('SET', KEYS[1], id) end
return {id, cursor or '', redis.call('GET', KEYS[3]) or ''}
