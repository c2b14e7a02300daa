-- Store entries, evicting where the cache is full: expired ones first, then the least accessed,
-- the oldest where counts tie.
-- KEYS[1] room  prefix  of every key of the shard (see keys.py)
-- ARGV[1] slot       the call's slot
-- ARGV[2] number     the call's number in its slot
-- ARGV[3] terms   three integers: max_size, max_bytes of keys and values (0 for no such bound), and 1 where
--   the layout was agreed on after this shard was found to have none; then the layout: who goes first, and
--   what else all caches of the namespace agree on
-- ARGV[4] tags    JSON array of names, the empty string for none
-- ARGV[5] lease   under which the one value was computed: its token and the epoch when it was taken;
--   the empty string for none
-- ARGV[6..] entries  each a key, milliseconds to live, and an encoded value
-- Reply: two integers as text: entries done with, in their order (all, unless room for the next could
--   not be made within the bound of one call: then the rest is sent again), and 1 where rows are still
--   due; or the layout of the entries there, where it is another; or "agree"
-- Invariant: live entries never exceed max_size, nor their bytes max_bytes; no entry in the index
--   without its value
-- Repeat: remembered: another's put that came between must not be undone
-- include: clock
-- include: idempotency
-- include: put_one
-- include: index
-- include: adaptive
-- include: order
-- include: leases
local tags = ARGV[4]
local token, began_in = string.match(ARGV[5], '^(%S*) ?(.*)$')
local FIRST = 6
local now, layout = began, asked_layout

local expiries, counts = assert_types()
for at = FIRST, #ARGV, 3 do
  has_value(ARGV[at])
end
for _, tag in ipairs(tags ~= '' and cjson.decode(tags) or {}) do
  redis.call('SCARD', members_of(tag))
end
if is_laid_out_otherwise(layout) then return 'layout ' .. LAYOUT end
if not LAYOUT and is_one_of_several(layout) and has_agreed == '0' then return 'agree' end

local function answer(stored, more_due)
  local reply = stored .. ' ' .. (more_due and '1' or '0')
  remember(REPEATS, now, ARGV[1], ARGV[2], reply)
  return reply
end

-- What was computed under a lease is stored if the lease still stands, or has run out with nothing
-- put in its place and nothing cleared away.
local function is_out_of_date(key)
  local lease = redis.call('GET', lease_of(key))
  if epoch(tags ~= '') ~= began_in then return true end
  if lease then return lease ~= token end
  return has_value(key)
end

if token ~= '' and is_out_of_date(ARGV[FIRST]) then
  if redis.call('GET', lease_of(ARGV[FIRST])) == token then redis.call('DEL', lease_of(ARGV[FIRST])) end
  return answer(1, false)
end
if not SEQUENCE then
  -- Begins at the time, so that entries which outlive a lost sequence stay older than new ones.
  redis.call('HSET', STATS, 'sequence', integer(now % GENERATIONS))
end
if LAYOUT ~= layout then
  lay_out(layout)
  redis.call('HSET', STATS, 'layout', layout, 'bytes', 0)
  redis.call('DEL', SIZES)
  forget_adaptive()
end

local swept = sweep(now)
local more_due = swept == CHUNK
local live = more_due and redis.call('ZCOUNT', EXPIRY, integer(now), '+inf') or expiries - swept
local seen = {live = 0, expired = 0, lost = 0, none = 0}
local pops = 0
if EVICTION == 'adaptive' then
  adaptive_order().keep(max_bytes > 0 and math.min(max_size, math.max(live, 1)) or max_size)
end

local function take_out(key)
  local was = remove(key, now)
  seen[was] = seen[was] + 1
  if was == 'live' or was == 'lost' then live = live - 1 end
end

local function due_one()
  return more_due and redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', '(' .. integer(now), 'LIMIT', 0, 1)[1]
end

local function is_over(key, bytes)
  if max_bytes == 0 then return false end
  local others = redis.call('HGET', STATS, 'bytes') - (redis.call('HGET', SIZES, key) or 0)
  return others + bytes > max_bytes
end

local function make_room(key, bytes)
  local expiry = tonumber(redis.call('ZSCORE', EXPIRY, key))
  local is_new = not expiry or expiry < now
  if is_new and expiry then take_out(key) end
  local moves = 2
  if is_new and EVICTION == 'adaptive' then adaptive_order().meet_ghost(key) end
  while (is_new and live >= max_size) or is_over(key, bytes) do
    if pops >= CHUNK then return false end
    pops = pops + 1
    local going = due_one() or victim(key, counts >= expiries)
    if not going then break end
    take_out(going)
    moves = 1
  end
  if is_new and EVICTION == 'adaptive' then adaptive_order().settle_window(moves) end
  if is_new then live = live + 1 end
  return true
end

local function store(key, ttl_ms, body)
  local sequence = next_sequence()
  local expiry = integer(now + ttl_ms)
  local header = string.format('%010.0f%013.0f', sequence % GENERATIONS, now)
  redis.call('SET', value_of(key), header .. body, 'PXAT', expiry)
  redis.call('ZADD', EXPIRY, expiry, key)
  redis.call('ZADD', COUNTS, integer(first_score(key, sequence)), key)
  set_size(key, #key + #header + #body)
  written[#written + 1] = key
  untag(key)
  if tags == '' then return end
  redis.call('HSET', TAGGED, key, tags)
  has_tagged = true
  for _, tag in ipairs(cjson.decode(tags)) do
    redis.call('SADD', members_of(tag), key)
  end
end

local stored = 0
for at = FIRST, #ARGV, 3 do
  local key, body = ARGV[at], ARGV[at + 2]
  if not make_room(key, #key + HEADER + #body) then break end
  store(key, tonumber(ARGV[at + 1]), body)
  if token == '' then void_lease(key) else redis.call('DEL', lease_of(key)) end
  stored = stored + 1
end
tally('evictions', seen.live)
tally('expirations', seen.expired)
tally('healed', seen.lost)
tell(now)
return answer(stored, more_due)
