-- Replace a scope's document by what was merged of it and of states of the other end.
-- KEYS[1] doc            hash    the scope's document
-- KEYS[2] history        stream  capped
-- KEYS[3] scopes         hash    the settings of each scope (edge)
-- KEYS[4] feed           zset    scope -> the number of its newest change (cloud)
-- KEYS[5] feed_number    string  the feed's last number (cloud)
-- KEYS[6] replica_id     string  the random id of this store
-- KEYS[7] repeats        hash    prefix; the last call of each client id
-- ARGV[1] scope
-- ARGV[2] role           edge or cloud
-- ARGV[3] expected       the stamp of the document that was merged, `-` for none
-- ARGV[4] settings       strategy, max_pending, overflow and origin; '' for those that the scope has here
-- ARGV[5] proposed_id    the beginning of the id that the store gets where it has none
-- ARGV[6] max_history    integer
-- ARGV[7] client_id      '' where a repeat is no different from a redelivery
-- ARGV[8] call           integer, the number of the client's call
-- ARGV[9] outcomes       of each state: accepted (something was new) or duplicate, a space between each
-- ARGV[10] head          of the merged state, see include/wire.lua
-- ARGV[11] data          opaque
-- ARGV[12..] versions    of the states
-- Reply: 'accepted*' | 'duplicate*' | '' | 'STRATEGY *' | 'CORRUPT *' | 'STALE': the outcomes; another document is
--   there now, merge again; a synchronizer has set another strategy; the document is damaged; the call was given up
-- Invariant: no change of a field that this end acknowledged is overwritten unread
-- Repeat: remembered with a client id, else idempotent: what was merged is there
-- include: clock
-- include: idempotency
-- include: document
-- include: wire
-- include: history
-- include: settings
-- include: replica_id
local doc, history, scopes, feed, feed_number = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id_key, repeats, scope, is_edge, settings = KEYS[6], KEYS[7], ARGV[1], ARGV[2] == 'edge', ARGV[4]
local max_history, client_id, outcomes = tonumber(ARGV[6]), ARGV[7], ARGV[9]
local direction, at = is_edge and 'pull' or 'push', now_ms()
if client_id ~= '' then
  local before = recall(repeats, at, client_id, ARGV[8])
  if before then return before end
end
local current, damage = read_document(doc)
if damage then return damage end
if ARGV[3] ~= (current and current.stamp or '-') then return '' end

redis.call('XLEN', history)
local known_settings
if is_edge then
  known_settings = redis.call('HGET', scopes, scope)
  if settings == '' then
    settings = adopt_settings(known_settings, 'merge')
  else
    local other = other_strategy(known_settings, string.match(settings, '^%S+'))
    if other then return 'STRATEGY ' .. other end
  end
else
  redis.call('ZSCORE', feed, scope)
  redis.call('GET', feed_number)
end
local replica_id, is_stored = read_replica_id(id_key, ARGV[5], is_edge)
local state = parse_head(ARGV[10], ARGV[11])
state.latest_clock, state.peer_version, state.was_signed = state.clock, 0, current and current.was_signed
if current then
  state.peer_version, state.version = current.peer_version, math.max(state.version, current.version)
  if earlier(state.clock, current.latest_clock) then state.latest_clock = current.latest_clock end
end
local index = 11
for outcome in string.gmatch(outcomes, '%S+') do
  index = index + 1
  local version = tonumber(ARGV[index])
  state.peer_version = math.max(state.peer_version, version)
  if outcome == 'accepted' then
    record(history, max_history, direction, version, '1', '')
  elseif client_id ~= '' then
    record(history, max_history, direction, version, '0', 'already applied')
  end
end
write_document(doc, state)
if not is_stored then redis.call('SET', id_key, replica_id) end
if is_edge then
  if settings ~= known_settings then redis.call('HSET', scopes, scope, settings) end
elseif not current or state.version ~= current.version or state.stamp ~= current.stamp
  or state.origin ~= current.origin then -- two origins may write the same data at the same moment
  publish(feed, feed_number, scope, replica_id, '')
end
if client_id ~= '' then remember(repeats, at, client_id, ARGV[8], outcomes) end
return outcomes
