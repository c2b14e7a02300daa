-- Replace a scope's document by what was merged of it and of states of the other end.
-- KEYS[1] doc            hash    the scope's document, `<tag>:doc:<scope>`; all other keys have its tag (see keys.py):
--                                history; scopes at an edge; feed, feed_number and purged in the cloud; replica_id, repeats
-- ARGV[1] call           role (edge or cloud), the beginning of the id that the store gets where it has none, max_history,
--                        max_conflicts, client_id (`-` where a repeat is no different from a redelivery), the number of
--                        the client's call, the clock of the earliest state, and the settings, a space between each
--                        settings: strategy, max_pending, overflow and origin; '' for those that the scope has here
-- ARGV[2] expected       stamp of the document that was merged, the clock of the delete before it ('' for none) and origin,
--                        a space between each; `-` for no document
-- ARGV[3] outcomes       of each state: accepted (something was new) or duplicate, `:` and its version; a space between each
-- ARGV[4] merged         a change, see include/wire.lua
-- Reply: 'accepted*' | 'duplicate*' | 'BASE *' | 'STRATEGY *' | 'CORRUPT *' | 'STALE': the outcomes; another document is
--   there now, whose checksum follows, or the scope was purged after the earliest state: merge again; a synchronizer has
--   set another strategy; the document is damaged; the call was given up
-- Invariant: no change of a field that this end acknowledged is overwritten unread
-- Repeat: remembered with a client id, else idempotent: what was merged is there
-- include: clock
-- include: idempotency
-- include: document
-- include: hint_tag
-- include: cloud_hint
-- include: scope_part
-- include: accepted
-- include: feed
-- include: splice
-- include: wire
-- include: spliced_changes
-- include: kept_splices
-- include: history
-- include: settings
-- include: replica_id
local doc = KEYS[1]
local tag = string.match(doc, '^[^}]*}')
local scope = string.sub(doc, #tag + 6)
local history, scopes = tag .. ':history:' .. scope, tag .. ':scopes'
local id_key, repeats = tag .. ':replica_id', tag .. ':repeats'
local role, proposed_id, max_history, client_id, call, earliest, settings = string.match(ARGV[1],
  '^(%S+) (%S+) (%d+) %d+ (%S+) (%d+) (%S*) (.*)$')
local is_edge, has_client = role == 'edge', client_id ~= '-'
local direction, at = is_edge and 'pull' or 'push', now_ms()
max_history = tonumber(max_history)
if has_client then
  local before = recall(repeats, at, client_id, call)
  if before then return before end
end
local purged_at = not is_edge and tonumber(redis.call('ZSCORE', tag .. ':purged', scope) or nil)
if purged_at and tonumber(earliest) <= purged_at then return 'BASE ' end
local current, damage = read_document(doc)
if damage then return damage end
local state = parse_change(ARGV[4])
local found = '-'
if current then
  found = current.stamp .. ' ' .. string.match(current.deleted or '', '^%S*') .. ' ' .. current.origin
end
if ARGV[2] ~= found or not rebuild({state}, doc, current) then
  return 'BASE ' .. (current and current.checksum or '')
end

redis.call('XLEN', history)
local known_settings, feed
if is_edge then
  known_settings = redis.call('HGET', scopes, scope)
  if settings == '' then
    settings = adopt_settings(known_settings, 'merge')
  else
    local other = other_strategy(known_settings, string.match(settings, '^%S+'))
    if other then return 'STRATEGY ' .. other end
  end
else
  feed = read_feed_head(tag, scope)
end
local replica_id, is_stored = read_replica_id(id_key, proposed_id, is_edge)
state.latest_clock, state.peer_version = state.clock, 0
if current then
  state.peer_version, state.version = current.peer_version, math.max(state.version, current.version)
  if earlier(state.clock, current.latest_clock) then state.latest_clock = current.latest_clock end
  if state.stamp == current.stamp and state.origin == current.origin then -- the same state, merged from memory
    state.signature = state.signature or current.signature
  end
end
local outcomes = {}
for outcome, version in string.gmatch(ARGV[3], '(%a+):(%d+)') do
  version = tonumber(version)
  outcomes[#outcomes + 1], state.peer_version = outcome, math.max(state.peer_version, version)
  if outcome == 'accepted' then
    record(history, max_history, direction, version, '1', '')
  elseif has_client then
    record(history, max_history, direction, version, '0', 'already applied')
  end
end
if not is_edge then keep_splice(doc, current, state) end
write_document(doc, current, state)
if not is_stored then redis.call('SET', id_key, replica_id) end
if is_edge then
  if settings ~= known_settings then redis.call('HSET', scopes, scope, settings) end
elseif not current or state.version ~= current.version or state.stamp ~= current.stamp
  or state.origin ~= current.origin then -- two origins may write the same data at the same moment
  publish(tag, scope, feed, replica_id, '', {state})
end
local reply = table.concat(outcomes, ' ')
if has_client then remember(repeats, at, client_id, call, reply) end
return reply
