-- Remove an entry whose bytes do not decode, if it is still the one that was read, and count it.
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the call
-- ARGV[2] sequence   integer  of the call
-- ARGV[3] key        string   entry key
-- ARGV[4] length     integer  of the bytes that were read
-- ARGV[5] head       string   the first of these bytes
-- ARGV[6] counted    integer  1 where the read was counted as a hit
-- ARGV[7] removed    integer  1 where the read has removed the entry, which is only counted
-- Reply: integer: 1
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes existing keys
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: index
local now = now_ms()
local key, length, head = ARGV[3], tonumber(ARGV[4]), ARGV[5]

if recall(REPEATS, now, ARGV[1], ARGV[2]) then return 1 end
assert_types()
local removed = ARGV[7] == '1'
local same = not removed and redis.call('STRLEN', value_of(key)) == length
  and redis.call('GETRANGE', value_of(key), 0, #head - 1) == head

if same then
  remove(key, now)
  redis.call('DEL', value_of(key)) -- an empty string is a value, too
end
add_stat('corrupt', (same or removed) and 1 or 0)
add_stat('hits', -tonumber(ARGV[6]))
add_stat('misses', tonumber(ARGV[6]))
publish_writes(now)
remember(REPEATS, now, ARGV[1], ARGV[2], '1')
return 1
