-- Remove keys of a shard as a whole, once everything was copied to other shards.
-- KEYS[1] moved          string  the name of the move
-- KEYS[2..] keys         any     to be removed
-- ARGV[1] move           its name
-- Reply: integer: 1, or 0 where the shard is not closed, or was closed anew
-- Invariant: a shard that was open meanwhile loses nothing
-- Layout: unchecked, since the shard is not in use any more
-- Repeat: idempotent
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
return 1
