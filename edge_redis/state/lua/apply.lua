-- Let states of the other end win or lose against a scope's document, in their order.
-- KEYS[1] doc            hash    the scope's document
-- KEYS[2] pending        stream  its outbox (edge)
-- KEYS[3] work           zset    scopes with something in their outbox (edge)
-- KEYS[4] history        stream  capped
-- KEYS[5] conflicts      stream  capped
-- KEYS[6] scopes         hash    each scope's settings (edge)
-- KEYS[7] changes        zset    the feed (cloud)
-- KEYS[8] sequence       string  the feed's last number (cloud)
-- KEYS[9] site           string  the random name of this store
-- KEYS[10] repeats       hash    prefix; the last call of each slot
-- ARGV[1] scope
-- ARGV[2] role           edge or cloud
-- ARGV[3] settings       strategy, max_pending and origin; '' for those the scope has here
-- ARGV[4] candidate      the site's name, where it has none
-- ARGV[5] max_history    integer
-- ARGV[6] max_conflicts  integer
-- ARGV[7] slot           '' where a repeat is no different from a redelivery
-- ARGV[8] number
-- ARGV[9..] states       six each: version, clock, origin, checksum, base, data
-- Reply: a letter a state: a accepted, d already there, r refused
-- Invariant: the result is that of any order and any repetition of the same states (LOCAL_WINS excepted)
-- Repeat: remembered with a slot, else idempotent: what was accepted is already there
-- include: clock
-- include: repeats
-- include: document
-- include: outbox
-- include: history
local doc, pending, work, history, conflicts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local scopes, changes, sequence, site, repeats = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local scope, role, slot = ARGV[1], ARGV[2], ARGV[7]
local max_history, max_conflicts = tonumber(ARGV[5]), tonumber(ARGV[6])
local at = now_ms()
local direction = role == 'edge' and 'pull' or 'push'

if slot ~= '' then
  local before = recall(repeats, at, slot, ARGV[8])
  if before then return before end
end

-- Every key is read before any is written: one of another type stops the script here.
local current = read_document(doc)
local unsynced = role == 'edge' and redis.call('XLEN', pending) > 0
redis.call('XLEN', history)
redis.call('XLEN', conflicts)
local settings = ARGV[3]
if role == 'edge' then
  redis.call('ZSCORE', work, scope)
  local known = redis.call('HGET', scopes, scope)
  if settings == '' then settings = known or 'remote_wins 100 ' end -- scopes is also the index of all there are
else
  redis.call('ZSCORE', changes, scope)
  redis.call('GET', sequence)
end
local strategy, max_pending, own = string.match(settings, '^(%S+) (%d+) (.*)$')
local site_name = redis.call('GET', site) or ARGV[4]
if own == '' then own = site_name end

local function wins_by_version(state)
  if state.version ~= current.version then return state.version > current.version end
  if state.origin == '' then return false end
  local theirs, ours = state.origin == 'cloud', current.origin == 'cloud'
  if theirs ~= ours then return theirs end
  if state.origin ~= current.origin then return precedes(current.origin, state.origin) end
  return precedes(current.checksum, state.checksum)
end

local function wins_by_clock(state)
  if state.clock ~= current.clock then return precedes(current.clock, state.clock) end
  if state.origin ~= current.origin then return precedes(current.origin, state.origin) end
  return precedes(current.checksum, state.checksum)
end

local function is_same(state)
  if state.checksum ~= current.checksum or state.origin ~= current.origin then return false end
  if strategy == 'latest_wins' then return state.clock == current.clock end
  return state.version == current.version
end

-- Whether one was written in knowledge of the other, so that nothing is lost between them.
local function is_related(state)
  if state.origin ~= '' and state.origin == current.origin and state.version ~= current.version then return true end
  if state.base ~= '' and state.base == current.stamp then return true end
  return current.base ~= '' and current.base == state.stamp
end

-- Whether this end has had that very state, or a later one of the same origin.
local function was_seen(state)
  local seen = state.origin ~= '' and redis.call('HGET', doc, 'seen:' .. state.origin)
  if not seen then return false end
  local version, checksum = string.match(seen, '^(%d+):(.*)$')
  if tonumber(version) ~= state.version then return state.version < tonumber(version) end
  return checksum == string.sub(state.checksum, 1, 16)
end

local function keep_loser(side, loser, winner)
  redis.call('XADD', conflicts, 'MAXLEN', max_conflicts, '*', 'lost', side,
    'version', integer(loser.version), 'clock', loser.clock, 'origin', loser.origin,
    'checksum', loser.checksum, 'data', loser.data or redis.call('HGET', doc, 'data'),
    'winner_version', integer(winner.version), 'winner_clock', winner.clock,
    'winner_origin', winner.origin, 'winner_checksum', winner.checksum)
end

local function accept(state)
  if current then
    state.remote, state.tick = current.remote, current.tick
    local at_risk = role == 'cloud' or unsynced or current.remote < current.version
    if at_risk and not is_related(state) then keep_loser('local', current, state) end
    state.version = math.max(state.version, current.version)
    if precedes(state.tick, state.clock) then state.tick = state.clock end
  else
    state.remote, state.tick = 0, state.clock
  end
  current = state
  record(history, max_history, direction, state.version, '1', '')
end

-- LOCAL_WINS: the local state again, above the remote one, so that the other end takes it.
local function reassert(state)
  current.version = state.version + 1
  current.tick = tick(precedes(current.tick, state.clock) and state.clock or current.tick)
  current.clock, current.origin, current.base = current.tick, own, state.stamp
  current.stamp = stamp(current.clock, current.checksum)
  current.data = redis.call('HGET', doc, 'data')
  enqueue(pending, work, scope, current, '0', max_pending)
  note_seen(doc, current)
end

local function refuse(state)
  local known = is_related(state) or was_seen(state)
  if not known then keep_loser('remote', state, current) end
  if slot ~= '' or not known then
    record(history, max_history, direction, state.version, '0', 'refused by ' .. strategy)
  end
  if strategy == 'local_wins' and state.version >= current.version then reassert(state) end
  -- The hub's version is at least that of all it was shown, so that every edge comes to the same.
  if role == 'cloud' then current.version = math.max(current.version, state.version) end
end

local function again(state)
  if slot ~= '' then record(history, max_history, direction, state.version, '0', 'already applied') end
  current.version = math.max(current.version, state.version)
end

local function decide(state)
  if not current then return 'a' end
  if is_same(state) then return 'd' end
  if strategy == 'local_wins' then return 'r' end
  local wins = strategy == 'latest_wins' and wins_by_clock or wins_by_version
  return wins(state) and 'a' or 'r'
end

local effect = {a = accept, d = again, r = refuse}
local version_before, stamp_before = current and current.version, current and current.stamp
local letters = {}
for i = 9, #ARGV, 6 do
  local state = {
    version = tonumber(ARGV[i]), clock = ARGV[i + 1], origin = ARGV[i + 2], checksum = ARGV[i + 3],
    base = ARGV[i + 4], data = ARGV[i + 5], stamp = stamp(ARGV[i + 1], ARGV[i + 3]),
  }
  local shown = state.version
  local letter = decide(state)
  local was_known = state.origin == '' or was_seen(state)
  effect[letter](state)
  current.remote = math.max(current.remote, shown)
  if not was_known then
    note_seen(doc, {version = shown, origin = state.origin, checksum = state.checksum})
  end
  letters[#letters + 1] = letter
end

write_document(doc, current)
redis.call('SET', site, site_name, 'NX')
if role == 'edge' then
  redis.call('HSET', scopes, scope, settings)
elseif current.version ~= version_before or current.stamp ~= stamp_before then
  announce(changes, sequence, scope)
end
local reply = table.concat(letters)
if slot ~= '' then remember(repeats, at, slot, ARGV[8], reply) end
return reply
