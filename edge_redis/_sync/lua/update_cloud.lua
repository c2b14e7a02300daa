-- Write a scope's next version in the cloud, and put it onto the feed.
-- KEYS[1] doc            hash    the scope's document, `<tag>:doc:<scope>`; all other keys have its tag (see keys.py):
--                                conflicts, feed, feed_number, replica_id, gc_watermark, repeats. Few words are few
--                                microseconds, and applications wait for this.
-- ARGV[1] origin         proposed replica id, a space, and the name under which the state is written
-- ARGV[2] call           client_id, its call number, the stamp of the state this is made of (`-` for
--                        none, `*` for any), the checksum of data, its clock (`-` for the server's), its signature
--                        (`-` for none), which begins with the version it was made for, the conflict that this
--                        resolves (`-` for none), and the version that the scope must be at (`-` for any, 0 where it
--                        must have no state), a space between each
-- ARGV[3] data           opaque
-- ARGV[4] splice         the stamp of a state, a space, and the splice that makes data of its data; '' for none
-- Reply: ['OK *' | 'LAST' | 'RESOLVED' | 'VERSION *' | 'CORRUPT *' | 'STALE'
--   | [string, string, number, string, string]]: `OK <version> <clock> <origin>`; no version comes after the present one;
--   the conflict is not in the list any more; the scope is at another version, `VERSION <wanted> <present>`; the document
--   is damaged; the call was given up; or, where another state is there than the one this is made of, or another version
--   or a later clock than the one it was signed for, or merged fields where no state must be: stamp, data, version, the
--   latest clock seen and origin
-- Invariant: versions rise by one, clocks never go back
-- Repeat: remembered
-- include: idempotency
-- include: document
-- include: deleted
-- include: next_version
-- include: hint_tag
-- include: cloud_hint
-- include: scope_part
-- include: accepted
-- include: feed
-- include: splice
-- include: kept_splices
-- include: feed_state
-- include: replica_id
-- include: ancestry
local doc, data = KEYS[1], ARGV[3]
local tag = string.match(doc, '^[^}]*}')
local scope = string.sub(doc, #tag + 6)
local proposed, name = string.match(ARGV[1], '^(%S+) (.*)$')
local client_id, call, expected, checksum, clock, signature, conflict, if_version = string.match(
  ARGV[2], '^(%S+) (%d+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
local repeats = tag .. ':repeats'
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)

local before = recall(repeats, at, client_id, call)
if before then return {before} end
local conflicts = tag .. ':conflicts:' .. scope
if conflict ~= '-' and not redis.call('XRANGE', conflicts, conflict, conflict)[1] then return {'RESOLVED'} end
local refusal, version, latest, current = next_version(doc, tag, expected, clock, signature, if_version)
if refusal then return {refusal} end

-- Every key is read before any is written: one of another type stops the script here.
local feed = read_feed_head(tag, scope)
local replica_id, is_stored = read_replica_id(tag .. ':replica_id', proposed, false)
local origin = qualified_origin(name, replica_id)

if clock == '-' then clock = next_clock(latest, time) end
local state = {
  version = version, peer_version = current and current.peer_version or 0, clock = clock, latest_clock = clock,
  origin = origin, checksum = checksum, data = data, ancestor = '', merged = current and current.merged,
  signature = signature ~= '-' and signature or nil,
}
state.deleted = deleted_before(current, state)
if current then
  if earlier(clock, latest) then state.latest_clock = latest end
  state.ancestor = current.origin == origin and current.ancestor or ancestor_of(current, origin, false)
  local made_of, splice = string.match(ARGV[4], '^(%S+) (.*)$')
  state.base, state.splice = current.checksum, made_of == current.stamp and splice or nil
end

if not is_stored then redis.call('SET', tag .. ':replica_id', replica_id) end
keep_splice(doc, current, state)
write_document(doc, current, state, true)
-- Workers do not use the states of hints where there are several feeds.
local has_one_feed = hint_tag(tag) == tag or string.find(tag, ':cloud1%.0%.%d+}$')
publish(tag, scope, feed, replica_id, origin, {state}, has_one_feed and state_for_hint(doc) or nil)
if conflict ~= '-' then redis.call('XDEL', conflicts, conflict) end
local reply = 'OK ' .. integer(version) .. ' ' .. clock .. ' ' .. origin
remember(repeats, at, client_id, call, reply)
return {reply}
