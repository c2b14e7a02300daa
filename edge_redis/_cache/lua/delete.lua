-- Remove entries.
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the call
-- ARGV[2] sequence   integer  of the call
-- ARGV[3..] keys     string   entry keys
-- Reply: integer: live entries removed
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes existing keys
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: index
-- include: leases
local now = now_ms()

local before = recall(REPEATS, now, ARGV[1], ARGV[2])
if before then return tonumber(before) end
assert_types()
local removed = {}
for at = 3, #ARGV do
  removed[at] = has_value(ARGV[at]) and 1 or 0
end

local count, expired, repaired = 0, 0, 0
for at = 3, #ARGV do
  count = count + removed[at]
  local was = remove(ARGV[at], now)
  void_lease(ARGV[at])
  if was == 'expired' then expired = expired + 1 end
  if was == 'lost' then repaired = repaired + 1 end
end
add_stat('expirations', expired)
add_stat('repaired', repaired)
publish_writes(now)
remember(REPEATS, now, ARGV[1], ARGV[2], integer(count))
return count
