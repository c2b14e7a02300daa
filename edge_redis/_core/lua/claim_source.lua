-- Let one process copy the units of another shard to this one, in place of any process before it.
-- KEYS[1] received       hash    source -> the token of the process that copies, or its move once done
-- ARGV[1] source         the shard that is copied
-- ARGV[2] token          of the process: the value of the shard's key `moved`, a colon, and a random word
-- Reply: integer: 1, or 0 where everything was copied
-- Invariant: what a process before it still sends is refused
-- Layout: unchecked, since the shard is not in use yet
-- Repeat: idempotent
if redis.call('HGET', KEYS[1], ARGV[1]) == string.match(ARGV[2], '^[^:]*') then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
