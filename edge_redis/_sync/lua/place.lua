-- Read how far an edge has come in the cloud's feed.
-- KEYS[1] site           string  the random name of this edge
-- KEYS[2] cursor         string  its place in the feed
-- ARGV[1] candidate      who names the edge, where it has no name
-- Reply: {name, place}, '' for the beginning
-- Invariant: whoever follows the feed knows for which life of the edge
-- Repeat: idempotent, reads, and names the edge once
-- include: site
local name, place = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if not name then
  name = name_site(ARGV[1])
  redis.call('SET', KEYS[1], name)
end
return {name, place or ''}
