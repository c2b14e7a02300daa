-- Apply states of the other end to a scope's document, in their order: each is accepted or rejected by the strategy.
-- KEYS[1] doc            hash    the scope's document, `<tag>:doc:<scope>`; all other keys have its tag (see keys.py):
--                                history and conflicts; pending, work, patterns, scopes and server at an edge; feed, feed_number and
--                                purged in the cloud; replica_id, repeats. Few words are few bytes on a metered link.
-- ARGV[1] call           role (edge or cloud), the beginning of the id that the store gets where it has none, max_history,
--                        max_conflicts, client_id (`-` where a repeat is no different from a redelivery), the number of
--                        the client's call, and the settings, a space between each
--                        settings: strategy, max_pending, overflow and origin; `?` for those the scope has here, and
--                        after it the strategy of the cloud's feed, '' for none
-- ARGV[2..] changes      see include/wire.lua
-- Reply: 'accepted*' | 'duplicate*' | 'rejected*' | 'MERGE' | 'BASE *' | 'TOO_HIGH *' | 'AUTHORITY *' | 'STRATEGY *'
--   | 'CLONE *' | 'CORRUPT *' | 'STALE': the outcome of each state, a space between each; the scope's fields are to be
--   merged (commit_merge.lua); a splice was made of another state than the document's, whose checksum follows; a version
--   is too high to go on from; the scope is LOCAL_WINS at that other edge; a synchronizer has set another strategy; a
--   later incarnation of that edge is LOCAL_WINS; the document is damaged; the call was given up
-- Invariant: the result is that of any order and any repetition of the same states (LOCAL_WINS excepted); no state from
--   before the delete of a scope that was purged brings the scope back
-- Repeat: remembered with a client id, else idempotent: what was accepted is already there
-- include: clock
-- include: idempotency
-- include: document
-- include: deleted
-- include: hint_tag
-- include: cloud_hint
-- include: scope_part
-- include: accepted
-- include: feed
-- include: splice
-- include: wire
-- include: spliced_changes
-- include: splice_chain
-- include: outbox_bodies
-- include: outbox_append
-- include: outbox_entries
-- include: kept_splices
-- include: patterns
-- include: carried
-- include: edge_hint
-- include: work_score
-- include: outbox
-- include: history
-- include: settings
-- include: replica_id
-- include: server_run
-- include: origins
-- include: order
-- include: ancestry
-- include: conflict
local doc = KEYS[1]
local tag = string.match(doc, '^[^}]*}')
local scope = string.sub(doc, #tag + 6)
local pending, history, conflicts = tag .. ':pending:' .. scope, tag .. ':history:' .. scope, tag .. ':conflicts:' .. scope
local work, scopes = tag .. ':work', tag .. ':scopes'
local id_key, server, repeats = tag .. ':replica_id', tag .. ':server', tag .. ':repeats'
local role, proposed_id, max_history, max_conflicts, client_id, call, settings = string.match(ARGV[1],
  '^(%S+) (%S+) (%d+) (%d+) (%S+) (%d+) (.*)$')
max_history, max_conflicts = tonumber(max_history), tonumber(max_conflicts)
client_id = client_id ~= '-' and client_id or ''
local at = now_ms()
local is_edge = role == 'edge'
local direction = is_edge and 'pull' or 'push'

if client_id ~= '' then
  local before = recall(repeats, at, client_id, call)
  if before then return before end
end
local purged_at = not is_edge and tonumber(redis.call('ZSCORE', tag .. ':purged', scope) or nil)
local states, later = {}, 0
for i = 2, #ARGV do
  local state = parse_change(ARGV[i])
  if state.version >= MAX_VERSION then return 'TOO_HIGH ' .. integer(state.version) end
  state.is_purged = purged_at and tonumber(state.clock) <= purged_at
  if not state.is_purged then later = later + 1 end
  states[#states + 1] = state
end
if later == 0 then return string.rep('rejected ', #states - 1) .. 'rejected' end

-- Every key is read before any is written: one of another type stops the script here.
local current, damage = read_document(doc)
if damage then return damage end
if not rebuild(states, doc, current) then return 'BASE ' .. (current and current.checksum or '') end
local waiting = is_edge and redis.call('XLEN', pending) or 0
redis.call('XLEN', history)
redis.call('XLEN', conflicts)
local known_settings, is_in_work, feed
if is_edge then
  is_in_work = redis.call('ZSCORE', work, scope)
  known_settings = redis.call('HGET', scopes, scope)
  if string.sub(settings, 1, 1) == '?' then
    settings = adopt_settings(known_settings, string.sub(settings, 2))
  else
    local other = other_strategy(known_settings, string.match(settings, '^%S+'))
    if other then return 'STRATEGY ' .. other end
  end
else
  feed = read_feed_head(tag, scope)
end
local strategy, max_pending, overflow, own_name = string.match(settings, '^%??(%S+) (%d+) (%S+) (.*)$')
-- A body of merged fields is enough for MERGE: this end may not know the scope's strategy yet.
if strategy == 'merge' or (current and current.merged) then return 'MERGE' end
for _, state in ipairs(states) do
  if not state.is_purged and string.byte(state.data, 1) == 146 then return 'MERGE' end
end
local stored_id, is_stored = read_replica_id(id_key, proposed_id, is_edge)
local replica_id, server_record = stored_id, nil
if is_edge and strategy == 'local_wins' then -- which may write
  replica_id, server_record = read_run_id(stored_id, server, proposed_id, redis.call('TIME'))
end
local own = qualified_origin(own_name, replica_id)

-- One edge has the LOCAL_WINS authority: two would overwrite each other's state without end.
local authority
local new_strategy = not is_edge and strategy ~= redis.call('HGET', doc, 'strategy') and strategy or nil
if not is_edge and strategy == 'local_wins' then
  local claimant, clock = states[#states].origin, states[#states].clock
  local name, holder = name_of(claimant), redis.call('HGET', doc, 'authority')
  if holder and name_of(holder) ~= name then return 'AUTHORITY ' .. name_of(holder) end
  local began, holder_began = began_at(claimant), began_at(holder or '')
  -- An incarnation that never wrote here is the edge's next one, even where it began while the clock was behind. A change
  -- that comes again says nothing of who writes now.
  local is_new, seen = redis.call('HEXISTS', doc, 'seen:' .. claimant) == 0, read_seen(doc, claimant)
  local is_repeat = seen and not earlier(seen.clock, clock)
  if not is_new and not is_repeat and earlier(began, holder_began) and earlier(holder_began, clock) then
    return 'CLONE ' .. name
  end
  if name ~= 'cloud' and (not holder or is_new or (earlier(holder_began, began) and not is_repeat)) then
    authority = claimant
  end
  strategy = 'remote_wins'
end

-- States that users pass have no incarnation in their origin. It is this store's for this edge's own name, else that of
-- the present state. If the present state lacks it and the same state comes with it, it is filled in.
local function with_incarnation(state)
  if state.origin == name_of(own) then return own end
  if not current then return state.origin end
  if state.origin == name_of(current.origin) then return current.origin end
  if current.origin == name_of(state.origin) and current.stamp == state.stamp then current.origin = state.origin end
  return state.origin
end

local accepted = {}
local function accept(state)
  local message = ''
  if is_edge and name_of(state.origin) == name_of(own) then
    -- Written by this edge, which has lost it since. It becomes the ancestor of the next write, as a foreign state would.
    message, state.ancestor = 'this edge had lost it', state.stamp
  end
  if current then
    state.peer_version, state.latest_clock = current.peer_version, current.latest_clock
    if not is_edge then state.deleted = deleted_before(current, state) end
    local is_at_risk = not is_edge or waiting > 0 or current.peer_version < current.version
    if is_at_risk and not is_related(state, current) then
      keep_loser(conflicts, max_conflicts, doc, 'local', current, state)
    end
    state.version = math.max(state.version, current.version)
    if earlier(state.latest_clock, state.clock) then state.latest_clock = state.clock end
  else
    state.peer_version, state.latest_clock = 0, state.clock
  end
  current, accepted[#accepted + 1] = state, state
  record(history, max_history, direction, state.version, '1', message)
end

-- LOCAL_WINS: write the local state again, with a version above the remote one, so that the other end accepts it. If
-- the outbox is full and may not coalesce, the new version replaces the newest entry, which has the same data. The
-- signature of the former version still holds: a LOCAL_WINS edge signs its changes as renewable.
local reasserted
local function reassert(state)
  current.version = state.version + 1
  local latest = earlier(current.latest_clock, state.clock) and state.clock or current.latest_clock
  current.latest_clock = next_clock(latest)
  current.clock, current.origin, current.ancestor = current.latest_clock, own, state.stamp
  current.stamp = stamp(current.clock, current.checksum)
  current.data = redis.call('HGET', doc, 'data')
  local function find_splice() return ':' end -- the same data
  local carried = read_carried(tag .. ':patterns')
  local is_local = stays_here(carried, scope)
  local bounds = is_local and NEWEST_ALONE or read_bounds(max_pending, overflow)
  local plan = plan_entry(pending, current.data, current.checksum, find_splice, bounds, waiting)
  if plan then append_entry(pending, plan, current, '0') else replace_newest(pending, current, current.data) end
  if not is_in_work and not is_local then
    add_to_work_index(work, scope, waiting_since(current.clock, at), is_any_for(carried.urgent, scope))
    is_in_work = true
  end
  reasserted = seen_of(current, NEVER_RESTORED)
  waiting = redis.call('XLEN', pending)
end

local function reject(state)
  -- Under LOCAL_WINS a state is lost even if it descends from the local one, so it is kept as a conflict.
  local is_known = was_seen(state) or (strategy ~= 'local_wins' and is_related(state, current))
  if not is_known then keep_loser(conflicts, max_conflicts, doc, 'remote', state, current) end
  if client_id ~= '' or not is_known then
    record(history, max_history, direction, state.version, '0', 'refused by ' .. strategy)
  end
  if strategy == 'local_wins' and state.version >= current.version then reassert(state) end
  -- The cloud's version is at least the highest that it was sent, so that all edges get the same version.
  if not is_edge then current.version = math.max(current.version, state.version) end
end

local function skip_duplicate(state)
  if client_id ~= '' then record(history, max_history, direction, state.version, '0', 'already applied') end
  current.version = math.max(current.version, state.version)
end

-- In the cloud: accept the next state of the origin of `run`, the state before it in this call, which was accepted as the
-- newest of its origin; return whether this is one. Nearly all are, and the rules below come to the same: it was not seen,
-- it wins by version and by clock, and it descends from the one before, which it replaces.
local run
local function accept_next(state)
  if state.is_purged or state.origin ~= run.origin or state.version <= run.version
    or not earlier(run.clock, state.clock) then
    return false
  end
  state.peer_version = math.max(run.peer_version, state.version)
  state.latest_clock = earlier(run.latest_clock, state.clock) and state.clock or run.latest_clock
  state.deleted = deleted_before(run, state)
  run, current, accepted[#accepted + 1] = state, state, state
  record(history, max_history, direction, state.version, '1', '')
  return true
end

local effects = {accepted = accept, duplicate = skip_duplicate, rejected = reject}
local before = current and {
  version = current.version, stamp = current.stamp, origin = current.origin, checksum = current.checksum,
  signature = current.signature, deleted = current.deleted,
}
local outcomes, newest, has_new_origin = {}, {}, false

-- Decide on a state by all rules; return the outcome.
local function decide(state)
  if is_edge then state.origin = with_incarnation(state) end
  local name, shown = state.is_purged and '' or state.origin, nil
  if name ~= '' then
    state.seen = newest[name] or read_seen(doc, name)
    has_new_origin = has_new_origin or not state.seen
    local restored = is_restored(state, strategy)
    state.restored_at = restored and state.clock or state.seen and state.seen.restored_at or NEVER_RESTORED
    local is_news = restored or (not was_seen(state) and not earlier(state.clock, state.restored_at))
    shown = is_news and seen_of(state, state.restored_at) or nil
  end
  local version, outcome = state.version, 'rejected'
  if not state.is_purged then
    outcome = outcome_of(state, current, strategy)
    effects[outcome](state)
    current.peer_version = math.max(current.peer_version, version)
  end
  if shown then newest[name] = shown end
  if reasserted then newest[own] = reasserted end
  local begins_run = not is_edge and shown and outcome == 'accepted' and state.version == version
  run = begins_run and state.restored_at == NEVER_RESTORED and state or nil
  return outcome
end

local function end_run()
  if run then newest[run.origin] = seen_of(run, NEVER_RESTORED) end
end

for i, state in ipairs(states) do
  if run and accept_next(state) then
    outcomes[i] = 'accepted'
  else
    end_run()
    outcomes[i] = decide(state)
  end
end
end_run()

local fields = {'HSET', doc}
local function set(name, value) fields[#fields + 1], fields[#fields + 2] = name, value end
for name, seen in pairs(newest) do
  set('seen:' .. name, seen_text(seen.version, seen))
  if seen.restored_at ~= NEVER_RESTORED then set('restored_at:' .. name, seen.restored_at) end
end
if authority then set('authority', authority) end
if new_strategy then set('strategy', new_strategy) end
if #fields > 2 then redis.call(unpack(fields)) end
if has_new_origin then trim_origins(doc) end
if not is_edge then keep_splice(doc, before, current) end
write_document(doc, before, current)
if not is_stored or replica_id ~= stored_id then redis.call('SET', id_key, replica_id) end
if server_record then redis.call('SET', server, server_record) end
if is_edge then
  if settings ~= known_settings then redis.call('HSET', scopes, scope, settings) end
else -- two origins may write the same data at the same moment
  local is_other = not before or current.stamp ~= before.stamp or current.origin ~= before.origin
  if is_other or current.version ~= before.version then
    publish(tag, scope, feed, replica_id, is_other and current.origin or '', accepted)
  end
end
local reply = table.concat(outcomes, ' ')
if client_id ~= '' then remember(repeats, at, client_id, call, reply) end
return reply
