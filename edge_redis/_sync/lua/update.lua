-- Write the next version of scopes at an edge, each into its outbox.
-- KEYS[1..] docs         hash    the scopes' documents, `<tag>:doc:<scope>`; all other keys have their tag (see keys.py):
--                                pending, bodies, conflicts, pending_bytes, work, patterns, scopes, replica_id,
--                                gc_watermark, server, repeats. Few words are few microseconds, and applications wait
--                                for this.
-- ARGV[1] settings       strategy, max_pending, overflow (coalesce or reject, and where the outbox is bounded in bytes `:`
--                        and these) and origin ('' for the replica id), a space between each
-- ARGV[2] call           client_id, its call number, is_delta (1 or 0) and the proposed replica id, a space between each
-- ARGV[3..] writes       four of each scope: conditions, the checksum of data, data (opaque), and splice
--                        conditions: `*`, or with a space between each: the stamp of the state that data is made of (`-`
--                        for none, `*` for any), its clock (`-` for the server's), its signature (`-` for none), which
--                        begins with the version it was made for, the conflict that this resolves (`-` for none), and
--                        the version that the scope must be at (`-` for any, 0 where it must have no state)
--                        splice: the stamp of a state, a space, and the splice that makes data of its data; '' for none
-- Reply: ['OK *' | 'FULL' | 'LAST' | 'RESOLVED' | 'STRATEGY *' | 'VERSION *' | 'CORRUPT *' | 'STALE' | 'ALONE'
--   | [string, string, number, string, string]...]: of each scope `OK <version> <clock> <origin>`; the outbox is full; no
--   version comes after the present one; the conflict is not in the list any more; a synchronizer has set another
--   strategy; the scope is at another version, `VERSION <wanted> <present>`; the document is damaged; the call was given
--   up (of the whole call); ask again for this scope alone; or, where another state is there than the one this is made
--   of, or another version or a later clock than the one it was signed for, or merged fields where no state must be:
--   stamp, data, version, the latest clock seen and origin
-- Invariant: versions rise by one, clocks never go back, at most max_pending entries wait, and of their bytes at most
--   max_pending_bytes, or one entry; of a scope that no worker pushes, the newest state waits alone; a scope that is refused
--   is unchanged, and does not stop the others
-- Repeat: remembered
-- include: idempotency
-- include: document
-- include: next_version
-- include: replica_id
-- include: server_run
-- include: outbox_append

-- A script makes its functions anew in each call, and each local that they use from around them is an object as well, so
-- making them takes longer than most of them run. So those that few writes need are made where they are needed.

local function find_other_strategy(...)
-- include: settings
  return other_strategy(...)
end

local function find_ancestor(...)
-- include: ancestry
  return ancestor_of(...)
end

-- What the workers of this edge carry.
local function read_patterns(tag)
-- include: patterns
-- include: carried
-- include: work_score
  local found = read_carried(tag .. ':patterns')
  return {
    is_local = function(scope) return stays_here(found, scope) end,
    score = function(scope, clock, at) return score_of(waiting_since(clock, at), is_any_for(found.urgent, scope)) end,
  }
end

local function publish_hint(...)
-- include: hint_tag
-- include: edge_hint
  publish_edge_hint(...)
end

-- The outbox in every case.
local function make_outbox()
-- include: splice
-- include: splice_chain
-- include: outbox_bodies
-- include: outbox_entries

  -- Plan the entry of write i; nil where the outbox is full and its policy is to reject.
  local function plan(write, i, doc, pending, current, waiting, is_local)
    local data = ARGV[4 * i + 1]
    local function find_splice()
      local made_of, splice = string.match(ARGV[4 * i + 2], '^(%S+) (.*)$')
      if current and made_of == current.stamp then return splice end
      if #data <= MAX_SPLICED_BYTES then return make_splice(redis.call('HGET', doc, 'data') or '', data) end
    end
    local base = current and current.checksum or ''
    local bounds = is_local and NEWEST_ALONE or read_bounds(write.max_pending, write.overflow)
    local found = plan_entry(pending, data, base, find_splice, bounds, waiting)
    if found or not write.scores[i] then return found end
    write.patterns = write.patterns or read_patterns(write.tag)
    if not write.patterns.is_local(write.scopes[i]) then return nil end -- or not sorted yet
    return plan_entry(pending, data, base, find_splice, NEWEST_ALONE, waiting)
  end
  return {plan = plan, remove = remove_planned}
end

-- Smaller bodies never become a splice (MIN_BODY_BYTES of splice.lua), and smaller ones are never the base of a splice,
-- which has half of its result's bytes at most: the others are its base's.
local SPLICED_BYTES, BASE_BYTES = 512, 256

-- Plan the entry in the usual case: small states, and one entry too many at most. Nil in all others.
local function plan_small(write, data, pending, waiting, positions)
  local most, overflow = write.max_pending, write.overflow
  if #data >= SPLICED_BYTES or waiting > most or most == 1 then return nil end
  if overflow ~= 'coalesce' and (overflow ~= 'reject' or waiting == most) then return nil end
  local first, last = 0, 0
  if waiting > 0 then first, last = string.match(positions or '', '^(-?%d+) (%d+)$') end
  if waiting == most then
    local oldest = redis.call('XRANGE', pending, '-', '+', 'COUNT', 1)[1][2]
    if oldest[1] ~= 'data' or #oldest[2] >= BASE_BYTES or oldest[3] ~= 'position' then return nil end
    first = (tonumber(oldest[4]) or 0) + ENTRY_BYTES + #oldest[2]
  end
  local position = tonumber(last) or 0
  return {data = data, position = position, max_entries = most, first = tonumber(first) or 0,
    last = position + ENTRY_BYTES + #data}
end

-- Write the next version of one scope, or nothing; return its reply.
local function write_scope(write, i)
  local at = 4 * i - 1
  local doc, scope, conditions, checksum, data = KEYS[i], write.scopes[i], ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local expected, clock, signature, conflict, if_version = '*', '-', '-', '-', '-'
  if conditions ~= '*' then
    expected, clock, signature, conflict, if_version = string.match(conditions, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  end
  local conflicts = conflict ~= '-' and write.tag .. ':conflicts:' .. scope
  if conflicts and not redis.call('XRANGE', conflicts, conflict, conflict)[1] then return 'RESOLVED' end
  local known_settings, settings, origin = write.known_settings[i], write.settings, write.origin
  if settings ~= known_settings then
    local other = find_other_strategy(known_settings, string.match(settings, '^%S+'))
    if other then return 'STRATEGY ' .. other end
  end
  local refusal, version, latest, current = next_version(doc, write.tag, expected, clock, signature, if_version)
  if refusal then return refusal end

  local pending = write.tag .. ':pending:' .. scope
  local waiting, is_in_work, is_local = redis.call('XLEN', pending), write.scores[i], false
  if not is_in_work then
    write.patterns = write.patterns or read_patterns(write.tag)
    is_local = write.patterns.is_local(scope)
  end
  local plan = not is_local and plan_small(write, data, pending, waiting, write.positions[i])
  if not plan then
    write.outbox = write.outbox or make_outbox()
    plan = write.outbox.plan(write, i, doc, pending, current, waiting, is_local)
    if not plan then return 'FULL' end
  end

  if clock == '-' then clock = next_clock(latest, write.time) end
  local state = {
    version = version, peer_version = current and current.peer_version or 0, clock = clock,
    latest_clock = clock < latest and latest or clock, origin = origin, checksum = checksum, data = data,
    ancestor = '', merged = current and current.merged, signature = signature ~= '-' and signature or nil,
  }
  if current then
    state.ancestor = current.origin == origin and current.ancestor or find_ancestor(current, origin, waiting > 0)
  end
  add_entry(pending, plan, state, write.is_delta) -- of another type, or damaged: nothing is written
  if plan.removal or plan.is_alone then write.outbox.remove(pending, plan, state) end
  write_document(doc, current, state, true)
  if conflicts then redis.call('XDEL', conflicts, conflict) end

  local words = write.position_words
  words[#words + 1], words[#words + 2] = scope, integer(plan.first) .. ' ' .. integer(plan.last)
  if settings ~= known_settings then
    words = write.settings_words
    words[#words + 1], words[#words + 2] = scope, settings
  end
  if is_in_work then -- the cloud may refuse what this store wrote under a former identity, and accept this
    write.has_news = write.has_news or (current and current.origin ~= origin)
  elseif not is_local then
    words = write.work_words
    words[#words + 1], words[#words + 2] = write.patterns.score(scope, clock, write.at), scope
  end
  return 'OK ' .. integer(version) .. ' ' .. clock .. ' ' .. origin
end

local settings, call = ARGV[1], ARGV[2]
local max_pending, overflow, name = string.match(settings, '^%S+ (%d+) (%S+) (.*)$')
local client_id, number, is_delta, at_proposed = string.match(call, '^(%S+) (%d+) (%d) ()')
local tag = string.sub(KEYS[1], 1, string.find(KEYS[1], '}', 1, true))
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000)

local before = recall(tag .. ':repeats', at, client_id, number)
if before then
  local replies = {}
  for reply in string.gmatch(before, '[^%z]+') do replies[#replies + 1] = reply end
  return replies
end

-- Every key is read before it is written: one of another type stops the script here, or its scope's write.
local scopes, settings_key, work, positions_key = {}, tag .. ':scopes', tag .. ':work', tag .. ':pending_bytes'
for i, doc in ipairs(KEYS) do scopes[i] = string.sub(doc, #tag + 6) end
local write = {
  tag = tag, scopes = scopes, settings = settings, max_pending = tonumber(max_pending), overflow = overflow,
  is_delta = is_delta, time = time, at = at,
  known_settings = redis.call('HMGET', settings_key, unpack(scopes)),
  scores = redis.call('ZMSCORE', work, unpack(scopes)),
  positions = redis.call('HMGET', positions_key, unpack(scopes)),
  settings_words = {'HSET', settings_key}, work_words = {'ZADD', work}, position_words = {'HSET', positions_key},
}
local proposed = string.sub(call, at_proposed)
local stored_id, is_stored = read_replica_id(tag .. ':replica_id', proposed, true)
local replica_id, server_record = read_run_id(stored_id, tag .. ':server', proposed, time)
write.origin = qualified_origin(name, replica_id)

local replies = {}
if #KEYS == 1 then
  replies[1] = write_scope(write, 1)
else
  for i = 1, #KEYS do
    local is_done, reply = pcall(write_scope, write, i)
    replies[i] = is_done and type(reply) == 'string' and reply or 'ALONE'
  end
end
if #write.position_words == 2 then return replies end -- nothing was written

redis.call(unpack(write.position_words))
if #write.settings_words > 2 then redis.call(unpack(write.settings_words)) end
if not is_stored or replica_id ~= stored_id then redis.call('SET', tag .. ':replica_id', replica_id) end
if server_record then redis.call('SET', tag .. ':server', server_record) end
remember(tag .. ':repeats', at, client_id, number, table.concat(replies, '\0'))
if #write.work_words > 2 then redis.call(unpack(write.work_words)) end
if #write.work_words > 2 or write.has_news then publish_hint(work) end
return replies
