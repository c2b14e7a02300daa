-- Note how far an edge has come in the cloud's feed, unless it has lost its data since, and with them its place.
-- KEYS[1] site           string  the random name of this edge
-- KEYS[2] cursor         string  its place in the feed
-- ARGV[1] name           of the edge that got the states up to here
-- ARGV[2] before         its place then
-- ARGV[3] place          its place now
-- Reply: 1, or 0 where it is another edge, or at another place
-- Invariant: every state before the place has come to this edge in this life of it
-- Repeat: idempotent, the place is another one then
if redis.call('GET', KEYS[1]) ~= ARGV[1] or (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[2], ARGV[3])
return 1
