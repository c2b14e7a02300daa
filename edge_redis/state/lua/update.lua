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
-- ARGV[9] settings       strategy, max_pending and origin, for whoever applies remote states
-- ARGV[10] max_pending   integer
-- ARGV[11] overflow      coalesce or reject
-- ARGV[12] slot
-- ARGV[13] number
-- Reply: `OK <version> <clock> <origin>`; `FULL`; or, where expected is not what is there, {stamp, data}
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

-- Every key is read before any is written: one of another type stops the script here.
if role == 'edge' then
  local waiting = redis.call('XLEN', pending)
  if ARGV[11] == 'reject' and waiting >= max_pending then return 'FULL' end
  redis.call('ZSCORE', work, scope)
  redis.call('HEXISTS', scopes, scope)
else
  redis.call('ZSCORE', changes, scope)
  redis.call('GET', sequence)
end
local site_name = redis.call('GET', site) or ARGV[8]
local origin = ARGV[7] ~= '' and ARGV[7] or site_name

local state = {
  version = (current and current.version or 0) + 1,
  remote = current and current.remote or 0,
  clock = tick(current and current.tick or ''),
  origin = origin, checksum = ARGV[5], data = ARGV[4],
  base = '',
}
state.tick = state.clock
if current then state.base = current.origin == origin and current.base or current.stamp end

if role == 'edge' then
  enqueue(pending, work, scope, state, ARGV[6], max_pending)
  redis.call('HSET', scopes, scope, ARGV[9])
else
  announce(changes, sequence, scope)
end
redis.call('SET', site, site_name, 'NX')
write_document(doc, state)
note_seen(doc, state)
local reply = 'OK ' .. integer(state.version) .. ' ' .. state.clock .. ' ' .. origin
remember(repeats, at, ARGV[12], ARGV[13], reply)
return reply
