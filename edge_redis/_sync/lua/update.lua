-- Write a scope's next version, into the outbox at an edge or onto the feed in the cloud.
-- KEYS[1] doc            hash    the scope's document, `<tag>:doc:<scope>`; all other keys have its tag (see keys.py):
--                                pending, bodies, pending_bytes, work, patterns, scopes and conflicts at an edge, feed and feed_number
--                                in the cloud, replica_id, gc_watermark, server, repeats. Few words are few microseconds, and applications wait for this.
-- ARGV[1] end            role (edge or cloud), proposed replica id, strategy, max_pending, overflow (coalesce or reject,
--                        and where the outbox is bounded in bytes `:` and these) and origin ('' for the replica id), a space between each
-- ARGV[2] call           client_id, its call number, is_delta (1 or 0), the stamp of the state this is made of (`-` for
--                        none, `*` for any), the checksum of data, its clock (`-` for the server's), its signature
--                        (`-` for none), which begins with the version it was made for, the conflict that this
--                        resolves (`-` for none), and the version that the scope must be at (`-` for any, 0 where it
--                        must have no state), a space between each
-- ARGV[3] data           opaque
-- ARGV[4] splice         the stamp of a state, a space, and the splice that makes data of its data; '' for none
-- Reply: 'OK *' | 'FULL' | 'LAST' | 'RESOLVED' | 'STRATEGY *' | 'VERSION *' | 'CORRUPT *' | 'STALE'
--   | [string, string, number, string, string]: `OK <version> <clock> <origin>`; the outbox is full; no version comes
--   after the present one; the conflict is not in the list any more; a synchronizer has set another strategy; the
--   scope is at another version, `VERSION <wanted> <present>`; the document is damaged; the call was given up; or, where
--   another state is there than the one this is made of, or another version or a later clock than the one it was signed
--   for, or merged fields where no state must be: stamp, data, version, the latest clock seen and origin
-- Invariant: versions rise by one, clocks never go back, at most max_pending entries wait, and of their bytes at most
--   max_pending_bytes, or one entry; of a scope that no worker pushes, the newest state waits alone
-- Repeat: remembered
-- include: idempotency
-- include: document
-- include: hint_tag
-- include: cloud_hint
-- include: scope_part
-- include: accepted
-- include: feed
-- include: splice
-- include: splice_chain
-- include: outbox_bodies
-- include: outbox_entries
-- include: kept_splices
-- include: feed_state
-- include: patterns
-- include: carried
-- include: edge_hint
-- include: outbox
-- include: settings
-- include: replica_id
-- include: server_run
-- include: ancestry
local doc, data = KEYS[1], ARGV[3]
local tag = string.match(doc, '^[^}]*}')
local scope = string.sub(doc, #tag + 6)
local role, proposed, at_settings, strategy, max_pending, overflow, origin = string.match(ARGV[1],
  '^(%S+) (%S+) ()(%S+) (%d+) (%S+) (.*)$')
local settings = string.sub(ARGV[1], at_settings)
local client_id, call, is_delta, expected, checksum, clock, signature, conflict, if_version = string.match(
  ARGV[2], '^(%S+) (%d+) (%d) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
local pending, repeats = tag .. ':pending:' .. scope, tag .. ':repeats'
local is_edge = role == 'edge'
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)

local before = recall(repeats, at, client_id, call)
if before then return before end
local conflicts
if conflict ~= '-' then
  conflicts = tag .. ':conflicts:' .. scope
  if not redis.call('XRANGE', conflicts, conflict, conflict)[1] then return 'RESOLVED' end
end

local current, damage = read_document(doc)
if damage then return damage end
local known_settings
if is_edge then
  known_settings = redis.call('HGET', tag .. ':scopes', scope)
  local other = settings ~= known_settings and other_strategy(known_settings, strategy)
  if other then return 'STRATEGY ' .. other end
end
if if_version ~= '-' then
  local present = integer(current and current.version or 0)
  if if_version == '0' and current and current.merged then
    expected = '' -- merged fields may be a delete, which only the caller can read
  elseif if_version ~= present and not (if_version == '0' and redis.call('HSTRLEN', doc, 'data') == 0) then
    return 'VERSION ' .. if_version .. ' ' .. present
  end
end
if expected == '*' and current and current.merged then expected = '' end -- its fields are never replaced unread
local version, latest
if current then
  version, latest = current.version, current.latest_clock
else -- above what was purged
  local purged = redis.call('HMGET', tag .. ':gc_watermark', 'version', 'clock')
  version, latest = tonumber(purged[1] or 0) or 0, is_clock(purged[2]) and purged[2] or ''
end
version = version + 1
local is_stale = expected ~= '*' and expected ~= (current and current.stamp or '-')
if signature == '-' then
  signature = nil
elseif string.match(signature, '^%d+') ~= integer(version) or not earlier(latest, clock) then
  is_stale = true
end
if is_stale then
  return {current and current.stamp or '-', current and redis.call('HGET', doc, 'data') or '', integer(version - 1),
    latest, current and current.origin or ''}
end
if version > MAX_VERSION then return 'LAST' end

-- The splice that came with the data, where it is against the present state.
local function given_splice()
  local made_of, splice = string.match(ARGV[4], '^(%S+) (.*)$')
  return made_of == current.stamp and splice or nil
end

-- Every key is read before any is written: one of another type stops the script here. (The outbox is written first.)
local is_waiting, waiting, plan, carried, is_local, feed
if is_edge then
  is_waiting = redis.call('ZSCORE', tag .. ':work', scope)
  waiting = redis.call('XLEN', pending)
  if not is_waiting then
    carried = read_carried(tag .. ':patterns')
    is_local = stays_here(carried, scope)
  end
  local base = current and current.checksum or ''
  local function find_splice()
    local splice = given_splice()
    if splice then return splice end
    if #data <= MAX_SPLICED_BYTES then return make_splice(redis.call('HGET', doc, 'data') or '', data) end
  end
  local bounds = is_local and NEWEST_ALONE or read_bounds(max_pending, overflow)
  plan = plan_entry(pending, data, base, find_splice, bounds, waiting)
  if not plan and is_waiting and stays_here(read_carried(tag .. ':patterns'), scope) then -- not sorted yet
    plan = plan_entry(pending, data, base, find_splice, NEWEST_ALONE, waiting)
  end
  if not plan then return 'FULL' end
else
  feed = read_feed_head(tag, scope)
end
local stored_id, is_stored = read_replica_id(tag .. ':replica_id', proposed, is_edge)
local replica_id, server_record = stored_id, nil
if is_edge then replica_id, server_record = read_run_id(stored_id, tag .. ':server', proposed, time) end
origin = qualified_origin(origin, replica_id)

if clock == '-' then clock = next_clock(latest, time) end
local state = {
  version = version, peer_version = current and current.peer_version or 0,
  clock = clock, latest_clock = clock, origin = origin, checksum = checksum, data = data, ancestor = '',
  merged = current and current.merged, signature = signature,
}
if not is_edge then state.deleted = deleted_before(current, state) end
if current and earlier(clock, latest) then state.latest_clock = latest end
if current then state.ancestor = current.origin == origin and current.ancestor or ancestor_of(current, origin, is_edge and waiting > 0) end

if is_edge then
  append_entry(pending, plan, state, is_delta)
  if not is_waiting and not is_local then
    add_to_work_index(tag .. ':work', scope, waiting_since(clock, at), is_any_for(carried.urgent, scope))
  elseif is_waiting and current and current.origin ~= origin then
    publish_edge_hint(doc) -- the cloud may refuse what this store wrote under a former identity, and accept this
  end
  if settings ~= known_settings then redis.call('HSET', tag .. ':scopes', scope, settings) end
end
if not is_stored or replica_id ~= stored_id then redis.call('SET', tag .. ':replica_id', replica_id) end
if server_record then redis.call('SET', tag .. ':server', server_record) end
if not is_edge then
  if current then state.base, state.splice = current.checksum, given_splice() end
  keep_splice(doc, current, state)
end
write_document(doc, current, state, true)
if not is_edge then
  local has_one_feed = hint_tag(tag) == tag -- workers do not use the states of hints where there are several
  publish(tag, scope, feed, replica_id, origin, {state}, has_one_feed and state_for_hint(doc) or nil)
end
if conflicts then redis.call('XDEL', conflicts, conflict) end
local reply = 'OK ' .. integer(state.version) .. ' ' .. clock .. ' ' .. origin
remember(repeats, at, client_id, call, reply)
return reply
