-- Take a batch of invocations, at most once: add it to its series, or append it to the writer's logs.
-- KEYS[1] epoch    string  the current epoch; absent means 0
-- KEYS[2] flushes  prefix  of the hashes that remember the last call of each writer
-- KEYS[3] root     prefix  of the epochs' keys
-- KEYS[4] since    string  time of the last reset or forget, in ms
-- KEYS[5] earlier  string  closed where the shard is of an earlier number of shards
-- ARGV[1] writer            string
-- ARGV[2] sequence          integer  of this call, rising by one
-- ARGV[3] expected          string   the epoch in which the batch began; empty in its first call
-- ARGV[4] max_series        integer  pairs that get a series of their own
-- ARGV[5] timeline_minutes  integer  how long minutes are kept
-- ARGV[6] max_recent        integer  records kept in the stream of recent ones
-- ARGV[7] max_errors        integer  failed records kept in theirs
-- ARGV[8] compact           integer  1 to add it now, 0 to append it until a log has COMPACT_AT bodies
-- ARGV[9] earliest          integer  time of the earliest record, in ms
-- ARGV[10] bodies           integer  how many bodies (see totals.py), each for another log
-- ARGV[11] pairs            integer  how many pairs the bodies have
-- ARGV[12..] the names of the pairs, then three to a body (the number of its log, its bytes, and the token of the
--   log's last body which it replaces, empty where it is appended), then three to an entry of records (its stream,
--   how many records, its bytes), then the payload: the bodies and the entries, one behind the other. One argument
--   is sent in one write
-- Reply: number | 'STALE' | 'CLOSED' | 'COMPACTED' | ['CORRUPT', string]: the epoch that the batch belongs to; STALE after
--   a later call. The others wrote nothing: CLOSED where the batch is for the shards of another number, COMPACTED where
--   a log does not end with the body to be replaced, or the key that does not hold what these scripts write
-- Invariant: all = the sum of the pairs = the sum of the functions = the sum of the nodes
-- Repeat: remembered by writer and sequence, for 12 hours at least
-- include: clock
-- include: idempotency
-- include: numbers
-- include: epoch
-- include: log_keys
-- include: compaction
REPEATS_BUCKET_MS = 43200000 -- a writer keeps a call for as long as the server is unavailable
local HEAD = 11
local COMPACT_AT = 24
local MAX_CALL_WORK = 2400 -- of what one call brings, as flush_calls.py has it
local MAX_WAIT_MS = 3600000
local MAX_REMOVED, TRIMMED_AT_ONCE = 256, 8
local writer, sequence, expected = ARGV[1], ARGV[2], ARGV[3]
local max_series, timeline_minutes = tonumber(ARGV[4]), tonumber(ARGV[5])
local most = {recent = tonumber(ARGV[6]), errors = tonumber(ARGV[7])}
local payload = ARGV[#ARGV]
local sent = 0 -- bytes of the payload that were read
local bodies_at = HEAD + tonumber(ARGV[11]) + 1
local entries_at = bodies_at + 3 * tonumber(ARGV[10])
local now = now_ms()

local known = recall(KEYS[2], now, writer, sequence)
if known then return known end
local root, epoch = current_root(KEYS[1], KEYS[3])
if expected ~= '' and expected ~= epoch then
  remember(KEYS[2], now, writer, sequence, expected) -- a reset has removed what its other calls wrote
  return expected
end
if expected == '' and redis.call('GET', KEYS[5]) == 'closed' then return 'CLOSED' end -- what has begun here ends here
local pairs_key, writers_key, meta_key = root .. ':pairs', root .. ':writers', root .. ':meta'

-- Which pairs get a series is decided here, in the order in which batches arrive, and not when they are added.

local membership, new_pairs = {}, {}

local function is_member(pair)
  if membership[pair] == nil then membership[pair] = redis.call('SISMEMBER', pairs_key, pair) == 1 end
  return membership[pair]
end

local function add_pair(pair)
  membership[pair] = true
  new_pairs[#new_pairs + 1] = pair
end

local free
for at = HEAD + 1, bodies_at - 1 do
  local pair = ARGV[at]
  if not is_member(pair) then
    free = free or max_series + (tonumber(redis.call('HGET', meta_key, 'extra') or 0) or 0)
      - redis.call('SCARD', pairs_key) + redis.call('SISMEMBER', pairs_key, OTHER)
    if pair == OTHER then
      add_pair(OTHER)
    elseif free > 0 then
      add_pair(pair)
      free = free - 1
    elseif not is_member(OTHER) then
      add_pair(OTHER)
    end
  end
end

-- Everything is read and computed first, so that what cannot be done fails before any write.

local logs, longest = {}, nil
for at = bodies_at, entries_at - 1, 3 do
  local upto = sent + tonumber(ARGV[at + 1])
  local log = open_log(root, writer, ARGV[at], string.sub(payload, sent + 1, upto), ARGV[at + 2])
  if not log then return 'COMPACTED' end
  sent = upto
  logs[#logs + 1] = log
  if not longest or log.stored > longest.stored then longest = log end
end
local due, max_work = {}, MAX_WORK
if ARGV[8] == '1' then
  due = logs
elseif longest and longest.stored + 1 >= COMPACT_AT then
  due = {longest} -- the others follow in the next calls, so that no call has much to do
  if longest.stored >= 2 * COMPACT_AT then max_work = MAX_CALL_WORK end -- calls bring more than they add up
end
local plan
if #due > 0 then
  plan = plan_compaction(root, due, max_work, is_member, now, timeline_minutes)
  if plan.corrupt then return {'CORRUPT', plan.corrupt} end
end
redis.call('SCARD', writers_key) -- an error where it is no set
for _, pair in ipairs(new_pairs) do redis.call('HLEN', root .. ':s:p:' .. pair) end -- the same of a hash
local since = redis.call('GET', KEYS[4]) or '0'
if not string.find(since, '^%d+$') then return {'CORRUPT', KEYS[4]} end
local kept = {}
for name in pairs(most) do
  redis.call('XLEN', root .. ':' .. name)
  local stored = redis.call('HGET', meta_key, name)
  if stored and not string.find(stored, '^%d+$') then return {'CORRUPT', meta_key} end
  kept[name] = tonumber(stored or 0)
end

-- From here on there are only writes.

if plan then apply_plan(plan) end
local is_logged = false
for _, log in ipairs(logs) do
  save_log(log)
  is_logged = is_logged or log.stored > 0 or log.taken == 0
end
if is_logged then save_writer(root, writer) end
if #new_pairs > 0 then redis.call('SADD', pairs_key, unpack(new_pairs)) end

-- A pair's counts begin with the first record of its first batch, which waited an hour at most.
local began = math.max(tonumber(since), math.min(now, math.max(tonumber(ARGV[9]), now - MAX_WAIT_MS)))
for _, pair in ipairs(new_pairs) do redis.call('HSETNX', root .. ':s:p:' .. pair, 'b', whole(began)) end

local grown = {}
for at = entries_at, #ARGV - 1, 3 do
  local name, upto = ARGV[at], sent + tonumber(ARGV[at + 2])
  redis.call('XADD', root .. ':' .. name, '*', 'c', ARGV[at + 1], 'r', string.sub(payload, sent + 1, upto))
  sent = upto
  kept[name] = kept[name] + tonumber(ARGV[at + 1])
  grown[name] = true
end

-- Removes some of the oldest entries above the bound; returns whether there may be more.
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
remember(KEYS[2], now, writer, sequence, epoch)
return epoch
