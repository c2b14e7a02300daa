-- Remove entries.
-- KEYS[1] room  prefix  of every key of the shard (see keys.py)
-- ARGV[1] slot    the call's slot
-- ARGV[2] number  the call's number in its slot
-- ARGV[3..] keys  entry keys
-- Reply: integer, live entries removed
-- Invariant: no entry in the index without its value
-- Layout: not created, since it only changes what is there
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

local count, expired, healed = 0, 0, 0
for at = 3, #ARGV do
  count = count + removed[at]
  local was = remove(ARGV[at], now)
  void_lease(ARGV[at])
  if was == 'expired' then expired = expired + 1 end
  if was == 'lost' then healed = healed + 1 end
end
tally('expirations', expired)
tally('healed', healed)
tell(now)
remember(REPEATS, now, ARGV[1], ARGV[2], integer(count))
return count
