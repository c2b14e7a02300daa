-- Remove dead letters.
-- KEYS[1] dead           stream  the dead letters of this shard
-- ARGV[1..] ids
-- Reply: integer: how many there were
-- Invariant: no other letter is removed
-- Layout: not created, since it only removes what is there
-- Repeat: idempotent, a repeat counts none
return redis.call('XDEL', KEYS[1], unpack(ARGV))
