-- Write a scope's next version, into the outbox at an edge or onto the feed in the cloud.
-- KEYS[1] doc            hash    the scope's document, `<tag>:doc:<scope>`; all other keys have its tag (see keys.py):
--                                pending, work and scopes at an edge, changes and sequence in the cloud, site, floor, repeats.
--                                Few words are few microseconds: this is the call that applications wait for.
-- ARGV[1] end            role (edge or cloud), who names the site where it has no name, strategy, max_pending, overflow
--                        (coalesce or reject) and origin ('' for the site's name), a space between each
-- ARGV[2] call           slot, number, is_delta (1 or 0), the stamp of the state this is made of (`-` for none, `*` for
--                        any), the checksum of data, its clock (`-` for the server's), and its signature (`-` for none),
--                        which begins with the version it was made for, a space between each
-- ARGV[3] data           opaque
-- Reply: `OK <version> <clock> <origin>`; `FULL`; `LAST` where no version comes after the present one; or, where
--        another state is there than the one this is made of, or another version or a later clock than the one it was
--        signed for, {stamp, data, version, the newest clock seen, origin}
-- Invariant: versions rise by one, clocks never go back, at most max_pending entries wait
-- Repeat: remembered
-- include: idempotency
-- include: document
-- include: outbox
-- include: site
local doc, data = KEYS[1], ARGV[3]
local tag = string.match(doc, '^[^}]*}')
local scope = string.sub(doc, #tag + 6)
local role, candidate, at_settings, max_pending, overflow, origin = string.match(ARGV[1],
  '^(%S+) (%S+) ()%S+ (%d+) (%S+) (.*)$')
local settings = string.sub(ARGV[1], at_settings)
local slot, number, is_delta, expected, checksum, clock, signature = string.match(ARGV[2],
  '^(%S+) (%d+) (%d) (%S+) (%S+) (%S+) (%S+)$')
local pending, repeats = tag .. ':pending:' .. scope, tag .. ':repeats'
local is_edge = role == 'edge'
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)

local before = recall(repeats, at, slot, number)
if before then return before end

local current = read_document(doc)
if expected == '*' and current and current.merged then expected = '' end -- its fields are never replaced unread
local lowest = current and {current.version, current.tick} or redis.call('HMGET', tag .. ':floor', 'version', 'clock')
local version, seen = tonumber(lowest[1] or 0) + 1, lowest[2] or ''
local stale = expected ~= '*' and expected ~= (current and current.stamp or '-')
if signature == '-' then
  signature = nil
elseif string.match(signature, '^%d+') ~= integer(version) or not earlier(seen, clock) then
  stale = true
end
if stale then
  return {current and current.stamp or '-', current and redis.call('HGET', doc, 'data') or '', integer(version - 1), seen,
    current and current.origin or ''}
end
if current and current.version >= MAX_VERSION then return 'LAST' end

-- Every key is read before any is written: one of another type stops the script here. (The outbox is written first.)
local waits, known_settings
if is_edge then
  if overflow == 'reject' and redis.call('XLEN', pending) >= tonumber(max_pending) then return 'FULL' end
  waits = redis.call('ZSCORE', tag .. ':work', scope)
  known_settings = redis.call('HGET', tag .. ':scopes', scope)
else
  redis.call('ZSCORE', tag .. ':changes', scope)
  redis.call('GET', tag .. ':sequence')
end
local known_site = redis.call('GET', tag .. ':site')
local site_name = known_site or name_site(candidate)
origin = lived(origin, site_name)

if clock == '-' then clock = tick(seen, time) end
local state = {
  version = version, remote = current and current.remote or 0,
  clock = clock, tick = clock, origin = origin, checksum = checksum, data = data, base = '',
  merged = current and current.merged, signature = signature, was_signed = current and current.was_signed,
}
if current and earlier(clock, current.tick) then state.tick = current.tick end
if current then state.base = current.origin == origin and current.base or current.stamp end

if is_edge then
  enqueue(pending, state, is_delta, max_pending)
  if not waits then redis.call('ZADD', tag .. ':work', waiting_since(clock, at), scope) end
  if settings ~= known_settings then redis.call('HSET', tag .. ':scopes', scope, settings) end
else
  announce(tag .. ':changes', tag .. ':sequence', scope)
end
if not known_site then redis.call('SET', tag .. ':site', site_name) end
write_document(doc, state, true)
local reply = 'OK ' .. integer(state.version) .. ' ' .. clock .. ' ' .. origin
remember(repeats, at, slot, number, reply)
return reply
