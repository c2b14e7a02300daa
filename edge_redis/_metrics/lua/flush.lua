-- Take a batch of invocations, at most once: add it to its series, or leave it to be added later.
-- KEYS[1] generation  string  the generation; absent means 0
-- KEYS[2] flushes     prefix  of the hashes that remember the last call of each writer
-- KEYS[3] root        prefix  of the generations' keys
-- ARGV[1] slot              string   the writer
-- ARGV[2] number            integer  of this call, rising by one
-- ARGV[3] expected          string   the generation that the batch began in; empty in its first call
-- ARGV[4] max_series        integer  pairs that get a series of their own
-- ARGV[5] timeline_minutes  integer  how long minutes are kept
-- ARGV[6] max_recent        integer  records kept in the stream
-- ARGV[7] max_errors        integer  failed records kept in theirs
-- ARGV[8] fold              integer  1 to add it now, 0 to leave it until FOLD_AT batches are left
-- ARGV[9] body              integer  bytes of what it adds (see delta.py); 0 for nothing
-- ARGV[10] pairs            integer  how many pairs the body speaks of
-- ARGV[11..] their names, then three to a chunk of records (recent or errors, their number, its bytes), then
--   the payload: the body and the chunks, one behind the other. In one piece it is sent in one piece
-- Reply: the generation that the batch belongs to, or STALE; or {'CORRUPT', key} where what is
--   stored was not written by these scripts, and then nothing was written
-- Invariant: all = the sum of the pairs = the sum of the functions = the sum of the nodes
-- Repeat: remembered by slot and number, for 12 hours at least
-- include: clock
-- include: idempotency
-- include: numbers
-- include: series
-- include: fold
REPEATS_BUCKET_MS = 43200000 -- a server may be away for longer than any caller of a single call waits
local HEAD = 10
local FOLD_AT = 16
local MAX_REMOVED, TRIMMED_AT_ONCE = 256, 8
local slot, number, expected = ARGV[1], ARGV[2], ARGV[3]
local max_series, timeline_minutes = tonumber(ARGV[4]), tonumber(ARGV[5])
local most = {recent = tonumber(ARGV[6]), errors = tonumber(ARGV[7])}
local payload = ARGV[#ARGV]
local sent = tonumber(ARGV[9]) -- bytes of the payload that are dealt with
local body = string.sub(payload, 1, sent)
local chunks = HEAD + tonumber(ARGV[10]) + 1
local now = now_ms()

local known = recall(KEYS[2], now, slot, number)
if known then return known end
local root, generation = current_root(KEYS[1], KEYS[3])
if expected ~= '' and expected ~= generation then
  remember(KEYS[2], now, slot, number, expected) -- its other calls went with the reset
  return expected
end
local pairs_key, logs_key, meta_key = root .. ':pairs', root .. ':logs', root .. ':meta'
local log_key = root .. ':log:' .. slot

-- Which pairs get a series is settled here, in the order in which batches come, and not when they are added.

local membership, new_pairs = {}, {}

local function is_member(pair)
  if membership[pair] == nil then membership[pair] = redis.call('SISMEMBER', pairs_key, pair) == 1 end
  return membership[pair]
end

local function admit(pair)
  membership[pair] = true
  new_pairs[#new_pairs + 1] = pair
end

local room
for at = HEAD + 1, chunks - 1 do
  local pair = ARGV[at]
  if not is_member(pair) then
    room = room or max_series - redis.call('SCARD', pairs_key) + redis.call('SISMEMBER', pairs_key, OTHER)
    if pair == OTHER then
      admit(OTHER)
    elseif room > 0 then
      admit(pair)
      room = room - 1
    elseif not is_member(OTHER) then
      admit(OTHER)
    end
  end
end

-- All is read and worked out first, so that what cannot be done fails before any write.

local left = redis.call('LLEN', log_key)
local bodies, plan = {}, nil
if ARGV[8] == '1' or left + 1 >= FOLD_AT then
  if left > 0 then bodies = redis.call('LRANGE', log_key, 0, -1) end
  if body ~= '' then bodies[#bodies + 1] = body end
  plan = plan_of(root, bodies, is_member, now, timeline_minutes, log_key)
  if plan.corrupt then return {'CORRUPT', plan.corrupt} end
end
redis.call('SCARD', logs_key) -- an error where it is no set
local kept = {}
for name in pairs(most) do
  redis.call('XLEN', root .. ':' .. name)
  local stored = redis.call('HGET', meta_key, name)
  if stored and not string.find(stored, '^%d+$') then return {'CORRUPT', meta_key} end
  kept[name] = tonumber(stored or 0)
end

-- From here on nothing fails.

if plan then carry_out(plan) end
if plan and plan.taken == #bodies then
  if left > 0 then
    redis.call('DEL', log_key)
    redis.call('SREM', logs_key, slot)
  end
else
  if plan then redis.call('LTRIM', log_key, plan.taken, -1) end
  if body ~= '' then
    redis.call('RPUSH', log_key, body)
    redis.call('SADD', logs_key, slot)
  end
end
if #new_pairs > 0 then redis.call('SADD', pairs_key, unpack(new_pairs)) end

local grown = {}
for at = chunks, #ARGV - 1, 3 do
  local name, upto = ARGV[at], sent + tonumber(ARGV[at + 2])
  redis.call('XADD', root .. ':' .. name, '*', 'c', ARGV[at + 1], 'r', string.sub(payload, sent + 1, upto))
  sent = upto
  kept[name] = kept[name] + tonumber(ARGV[at + 1])
  grown[name] = true
end

-- Removes the oldest entries that are not wanted, some at a time; whether there may be more.
local function trim_some(name)
  local key, unwanted = root .. ':' .. name, {}
  if kept[name] <= most[name] then return false end
  for _, entry in ipairs(redis.call('XRANGE', key, '-', '+', 'COUNT', TRIMMED_AT_ONCE)) do
    local count = tonumber(entry[2][2]) or 0
    if kept[name] - count < most[name] then break end
    unwanted[#unwanted + 1] = entry[1]
    kept[name] = kept[name] - count
  end
  if #unwanted > 0 then redis.call('XDEL', key, unpack(unwanted)) end
  return #unwanted == TRIMMED_AT_ONCE
end

local function trim(name)
  for _ = 1, MAX_REMOVED / TRIMMED_AT_ONCE do
    if not trim_some(name) then break end
  end
  redis.call('HSET', meta_key, name, whole(kept[name]))
end

for name in pairs(grown) do trim(name) end
remember(KEYS[2], now, slot, number, generation)
return generation
