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
-- ARGV[3] settings       strategy, max_pending, overflow and origin; `?` for those the scope has here, and after it
--                        the strategy that other edges have told the cloud, '' for none
-- ARGV[4] candidate      who names the site, where it has no name
-- ARGV[5] max_history    integer
-- ARGV[6] max_conflicts  integer
-- ARGV[7] slot           '' where a repeat is no different from a redelivery
-- ARGV[8] number
-- ARGV[9..] states       the length of a head, `:`, the head (version, clock, checksum, base, signature and origin, a
--                        space between each), and the data
-- Reply: a letter a state: a accepted, d already there, r refused; `LAST <version>` where one is too high to go on
--        from; `AUTHORITY <origin>` where that edge is the scope's LOCAL_WINS, and these states are another's;
--        `MERGE` where the scope's fields are to be merged (settle.lua)
-- Invariant: the result is that of any order and any repetition of the same states (LOCAL_WINS excepted)
-- Repeat: remembered with a slot, else idempotent: what was accepted is already there
-- include: clock
-- include: idempotency
-- include: document
-- include: outbox
-- include: history
-- include: site
-- include: origins
local doc, pending, work, history, conflicts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local scopes, changes, sequence, site, repeats = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local scope, role, slot = ARGV[1], ARGV[2], ARGV[7]
local max_history, max_conflicts = tonumber(ARGV[5]), tonumber(ARGV[6])
local at = now_ms()
local is_edge = role == 'edge'
local direction = is_edge and 'pull' or 'push'

if slot ~= '' then
  local before = recall(repeats, at, slot, ARGV[8])
  if before then return before end
end
local states = {}
for i = 9, #ARGV do
  local length, from = string.match(ARGV[i], '^(%d+):()')
  local after = from + length
  local version, clock, checksum, base, signature, origin = string.match(string.sub(ARGV[i], from, after - 1),
    '^(%d+) (%S*) (%S*) (%S*) (%S*) (.*)$')
  if tonumber(version) >= MAX_VERSION then return 'LAST ' .. version end
  states[#states + 1] = {
    version = tonumber(version), clock = clock, checksum = checksum, base = base, origin = origin,
    data = string.sub(ARGV[i], after), stamp = stamp(clock, checksum), signature = signature ~= '' and signature or nil,
  }
end

-- Every key is read before any is written: one of another type stops the script here.
local current = read_document(doc)
local waiting = is_edge and redis.call('XLEN', pending) or 0
redis.call('XLEN', history)
redis.call('XLEN', conflicts)
local settings, known_settings = ARGV[3], nil
if is_edge then
  redis.call('ZSCORE', work, scope)
  known_settings = redis.call('HGET', scopes, scope)
  if string.sub(settings, 1, 1) == '?' then -- scopes is also the index of all
    -- Where nobody has written, nobody has told the strategy: by another one this end would come to another state.
    local told = settings == '?latest_wins'
    settings = known_settings or 'remote_wins 100 coalesce '
    if told then settings = string.gsub(settings, '^remote_wins ', 'latest_wins ') end
  end
else
  redis.call('ZSCORE', changes, scope)
  redis.call('GET', sequence)
end
local strategy, max_pending, overflow, own = string.match(settings, '^(%S+) (%d+) (%S+) (.*)$')
-- Fields tell by themselves that they are to be merged: an end may not have been told the strategy yet.
if strategy == 'merge' or (current and current.merged) then return 'MERGE' end
for _, state in ipairs(states) do
  if string.byte(state.data, 1) == 146 then return 'MERGE' end
end
local known_site = redis.call('GET', site)
local site_name = known_site or name_site(ARGV[4])
own = lived(own, site_name)

-- LOCAL_WINS is authority, and of two that each write theirs again above the other's none would ever have done.
local authority
local told = not is_edge and strategy ~= redis.call('HGET', doc, 'strategy') and strategy or nil
if not is_edge and strategy == 'local_wins' then
  local claimant, held = name_of(states[#states].origin), redis.call('HGET', doc, 'authority')
  if held and held ~= claimant then return 'AUTHORITY ' .. held end
  if not held and claimant ~= 'cloud' then authority = claimant end
  strategy = 'remote_wins'
end

local function wins_by_version(state)
  if state.version ~= current.version then return state.version > current.version end
  if state.origin == '' then return false end
  local theirs, ours = name_of(state.origin) == 'cloud', name_of(current.origin) == 'cloud'
  if theirs ~= ours then return theirs end
  if state.origin ~= current.origin then return precedes(current.origin, state.origin) end
  return precedes(current.checksum, state.checksum)
end

local function wins_by_clock(state)
  if state.clock ~= current.clock then return earlier(current.clock, state.clock) end
  if state.origin ~= current.origin then return precedes(current.origin, state.origin) end
  return precedes(current.checksum, state.checksum)
end

-- Users give states without the life of their origin: it is taken to be this one's of what was written here, and else
-- that of the present state. Where the present state is such a one, and comes with its life, the life is learnt.
local function with_life(state)
  if state.origin == name_of(own) then return own end
  if not current then return state.origin end
  if state.origin == name_of(current.origin) then return current.origin end
  if current.origin == name_of(state.origin) and current.stamp == state.stamp then current.origin = state.origin end
  return state.origin
end

local function is_same(state)
  if state.checksum ~= current.checksum or state.origin ~= current.origin then return false end
  if strategy == 'latest_wins' then return state.clock == current.clock end
  return state.version == current.version
end

-- The newest state of an origin that this end has had, and since which clock the origin counts on: one that was put
-- back to older data gives out versions again, and what it writes knows nothing of what it wrote before.
local ALWAYS = '000000000000000000'
local function read_seen(origin)
  local found = redis.call('HMGET', doc, 'seen:' .. origin, 'life:' .. origin)
  if not found[1] then return nil end
  local version, checksum, clock = string.match(found[1], '^(%d+):(%x*):(%d+)$')
  return {version = tonumber(version), checksum = checksum, clock = clock, life = found[2] or ALWAYS}
end

local function is_the_seen(state, seen)
  return seen.checksum == string.sub(state.checksum, 1, 16)
    and (seen.version == state.version or seen.clock == state.clock)
end

-- Whether this end has had that very state, or a later one that its origin wrote in knowledge of it.
local function was_seen(state)
  local seen = state.seen
  if not seen then return false end
  if is_the_seen(state, seen) then return true end
  return state.version < seen.version and earlier(state.clock, seen.clock) and not earlier(state.clock, seen.life)
end

-- An origin counts its versions and its clock up together: a lower version at a later time was given out again.
local function begins_anew(state)
  local seen = state.seen
  if not seen or is_the_seen(state, seen) or not earlier(seen.clock, state.clock) then return false end
  return state.version < seen.version or (state.version == seen.version and strategy ~= 'latest_wins')
end

local function of_one_life(state)
  if state.origin == '' or state.origin ~= current.origin or state.version == current.version then return false end
  if (state.version < current.version) ~= earlier(state.clock, current.clock) then return false end
  local life = state.life
  return life == ALWAYS or earlier(state.clock, life) == earlier(current.clock, life)
end

-- Whether one was written in knowledge of the other, or says the same, so that nothing is lost between them.
local function is_related(state)
  if of_one_life(state) or state.stamp == current.stamp then return true end
  if state.base ~= '' and state.base == current.stamp then return true end
  return current.base ~= '' and current.base == state.stamp
end

local function keep_loser(side, loser, winner)
  redis.call('XADD', conflicts, 'MAXLEN', max_conflicts, '*', 'lost', side,
    'version', integer(loser.version), 'clock', loser.clock, 'origin', loser.origin,
    'checksum', loser.checksum, 'data', loser.data or redis.call('HGET', doc, 'data'),
    'winner_version', integer(winner.version), 'winner_clock', winner.clock,
    'winner_origin', winner.origin, 'winner_checksum', winner.checksum)
end

local function accept(state)
  local message = ''
  if is_edge and name_of(state.origin) == name_of(own) then
    -- Written here, and known here no more. What is written next is made of it as of any foreign state.
    message, state.base = 'this edge had lost it', state.stamp
  end
  if current then
    state.remote, state.tick, state.was_signed = current.remote, current.tick, current.was_signed
    local at_risk = not is_edge or waiting > 0 or current.remote < current.version
    if at_risk and not is_related(state) then keep_loser('local', current, state) end
    state.version = math.max(state.version, current.version)
    if earlier(state.tick, state.clock) then state.tick = state.clock end
  else
    state.remote, state.tick = 0, state.clock
  end
  current = state
  record(history, max_history, direction, state.version, '1', message)
end

-- LOCAL_WINS: the local state again, above the remote one, so that the other end takes it. Where the outbox is full
-- and may drop nothing, it takes the place of its own former version there: the newest, of the same data. Its signature
-- stays that of the version that was written: whoever signs as LOCAL_WINS signs that it may be said again.
local asserted
local function reassert(state)
  current.version = state.version + 1
  current.tick = tick(earlier(current.tick, state.clock) and state.clock or current.tick)
  current.clock, current.origin, current.base = current.tick, own, state.stamp
  current.stamp = stamp(current.clock, current.checksum)
  current.data = redis.call('HGET', doc, 'data')
  if overflow == 'reject' and waiting >= tonumber(max_pending) then
    redis.call('XDEL', pending, redis.call('XREVRANGE', pending, '+', '-', 'COUNT', 1)[1][1])
  end
  enqueue(pending, current, '0', max_pending)
  redis.call('ZADD', work, 'NX', waiting_since(current.clock, at), scope)
  asserted = {
    version = current.version, checksum = string.sub(current.checksum, 1, 16), clock = current.clock, life = ALWAYS,
  }
  waiting = redis.call('XLEN', pending)
end

local function refuse(state)
  -- What the authority overrules was mostly written in knowledge of what stays. It is lost all the same.
  local known = was_seen(state) or (strategy ~= 'local_wins' and is_related(state))
  if not known then keep_loser('remote', state, current) end
  if slot ~= '' or not known then
    record(history, max_history, direction, state.version, '0', 'refused by ' .. strategy)
  end
  if strategy == 'local_wins' and state.version >= current.version then reassert(state) end
  -- The hub's version is at least that of all it was shown, so that every edge comes to the same.
  if not is_edge then current.version = math.max(current.version, state.version) end
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
local origin_before = current and current.origin -- two origins may write the same at the same moment
local letters, fields, newest, is_new_origin = {}, {'HSET', doc}, {}, false
for _, state in ipairs(states) do
  if is_edge then state.origin = with_life(state) end
  local shown, name, anew = state.version, state.origin, false
  if name ~= '' then
    state.seen = newest[name] or read_seen(name)
    is_new_origin = is_new_origin or not state.seen
    anew = begins_anew(state)
    state.life = anew and state.clock or state.seen and state.seen.life or ALWAYS
  end
  local letter = decide(state)
  local tell = anew or (name ~= '' and not was_seen(state) and not earlier(state.clock, state.life))
  effect[letter](state)
  current.remote = math.max(current.remote, shown)
  if tell then
    newest[name] = {
      version = shown, checksum = string.sub(state.checksum, 1, 16), clock = state.clock, life = state.life,
    }
  end
  if asserted then newest[own] = asserted end
  letters[#letters + 1] = letter
end

for name, seen in pairs(newest) do
  fields[#fields + 1], fields[#fields + 2] = 'seen:' .. name, seen_text(seen.version, seen)
  if seen.life ~= ALWAYS then fields[#fields + 1], fields[#fields + 2] = 'life:' .. name, seen.life end
end
if authority then fields[#fields + 1], fields[#fields + 2] = 'authority', authority end
if told then fields[#fields + 1], fields[#fields + 2] = 'strategy', told end
if #fields > 2 then redis.call(unpack(fields)) end
if is_new_origin then forget_origins(doc) end
write_document(doc, current)
if not known_site then redis.call('SET', site, site_name) end
if is_edge then
  if settings ~= known_settings then redis.call('HSET', scopes, scope, settings) end
elseif current.version ~= version_before or current.stamp ~= stamp_before or current.origin ~= origin_before then
  announce(changes, sequence, scope)
end
local reply = table.concat(letters)
if slot ~= '' then remember(repeats, at, slot, ARGV[8], reply) end
return reply
