-- Store how far the scopes were offered again to a cloud that lost data.
-- KEYS[1] reoffer        string  the id of this edge's store and the position
-- ARGV[1] position       '' where all were offered
-- Reply: integer: 1
-- Invariant: an offer that is under way is remembered until it is complete
-- Repeat: idempotent
if ARGV[1] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[1]) end
return 1
