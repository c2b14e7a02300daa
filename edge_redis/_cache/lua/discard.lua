-- Remove an entry whose bytes do not decode, if it is still the one that was read.
-- KEYS[1] room  prefix  of every key of the shard (see keys.py)
-- ARGV[1] slot      the call's slot
-- ARGV[2] number    the call's number in its slot
-- ARGV[3] key       entry key
-- ARGV[4] length    integer, bytes that were read
-- ARGV[5] head      the first of these bytes
-- ARGV[6] counted   integer, 1 where the read has been counted as a hit, which it was not
-- Reply: integer, 1
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes what is there
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: index
local now = now_ms()
local key, length, head = ARGV[3], tonumber(ARGV[4]), ARGV[5]

if recall(REPEATS, now, ARGV[1], ARGV[2]) then return 1 end
assert_types()
local same = redis.call('STRLEN', value_of(key)) == length
  and redis.call('GETRANGE', value_of(key), 0, #head - 1) == head

if same then
  remove(key, now)
  redis.call('DEL', value_of(key)) -- an empty string is a value, too
  tally('undecodable', 1)
end
tally('hits', -tonumber(ARGV[6]))
tally('misses', tonumber(ARGV[6]))
tell(now)
remember(REPEATS, now, ARGV[1], ARGV[2], '1')
return 1
