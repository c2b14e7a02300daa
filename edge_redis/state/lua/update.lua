-- Write a scope's next version, into the outbox at an edge or onto the feed in the cloud.
-- KEYS[1] doc            hash    the scope's document
-- KEYS[2] pending        stream  its outbox (edge)
-- KEYS[3] work           zset    scopes with something in their outbox (edge)
-- KEYS[4] scopes         hash    each scope's settings (edge)
-- KEYS[5] changes        zset    the feed (cloud)
-- KEYS[6] sequence       string  the feed's last number (cloud)
-- KEYS[7] site           string  the random name of this store
-- KEYS[8] repeats        hash    prefix; the last call of each slot
-- ARGV[1] scope
-- ARGV[2] role           edge or cloud
-- ARGV[3] expected       the stamp of the state this is made of, '' for none, '*' for any
-- ARGV[4] data           opaque
-- ARGV[5] checksum       of data
-- ARGV[6] is_delta       1 or 0
-- ARGV[7] origin         '' for the site's name
-- ARGV[8] candidate      the site's name, where it has none
-- ARGV[9] settings       strategy, max_pending, overflow and origin, for whoever applies remote states
-- ARGV[10] max_pending   integer
-- ARGV[11] overflow      coalesce or reject
-- ARGV[12] slot
-- ARGV[13] number
-- Reply: `OK <version> <clock> <origin>`; `FULL`; `LAST` where no version comes after the present one; or, where
--        expected is not what is there, {stamp, data}
-- Invariant: versions rise by one, clocks never go back, at most max_pending entries wait
-- Repeat: remembered
-- include: clock
-- include: repeats
-- include: document
-- include: outbox
local doc, pending, work, scopes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local changes, sequence, site, repeats = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local scope, role, expected, max_pending = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[10])
local at = now_ms()

local before = recall(repeats, at, ARGV[12], ARGV[13])
if before then return before end

local current = read_document(doc)
if expected ~= '*' and expected ~= (current and current.stamp or '') then
  return {current and current.stamp or '', current and redis.call('HGET', doc, 'data') or ''}
end

if current and current.version >= MAX_VERSION then return 'LAST' end

-- Every key is read before any is written: one of another type stops the script here. (The outbox is written first.)
local is_edge, waits, settings = role == 'edge', nil, nil
if is_edge then
  if ARGV[11] == 'reject' and redis.call('XLEN', pending) >= max_pending then return 'FULL' end
  waits, settings = redis.call('ZSCORE', work, scope), redis.call('HGET', scopes, scope)
else
  redis.call('ZSCORE', changes, scope)
  redis.call('GET', sequence)
end
local site_name = redis.call('GET', site)
local origin = ARGV[7] ~= '' and ARGV[7] or site_name or ARGV[8]

local state = {
  version = (current and current.version or 0) + 1,
  remote = current and current.remote or 0,
  clock = tick(current and current.tick or ''),
  origin = origin, checksum = ARGV[5], data = ARGV[4],
  base = '',
}
state.tick = state.clock
if current then state.base = current.origin == origin and current.base or current.stamp end

if is_edge then
  enqueue(pending, state, ARGV[6], max_pending)
  if not waits then redis.call('ZADD', work, waiting_since(state.clock, at), scope) end
  if settings ~= ARGV[9] then redis.call('HSET', scopes, scope, ARGV[9]) end
else
  announce(changes, sequence, scope)
end
if not site_name then redis.call('SET', site, ARGV[8]) end
write_document(doc, state, true)
local reply = 'OK ' .. integer(state.version) .. ' ' .. state.clock .. ' ' .. origin
remember(repeats, at, ARGV[12], ARGV[13], reply)
return reply
