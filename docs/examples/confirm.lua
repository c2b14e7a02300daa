-- Remove from the outbox the changes that the other end has, and record how far it has come.
-- KEYS[1] doc            hash    the scope's document
-- KEYS[2] pending        stream  its outbox; beside it the scope's bodies and its field of pending_bytes (see keys.py)
-- KEYS[3] history        stream  capped
-- KEYS[4] work           zset    scopes with changes in their outbox
-- KEYS[5] repeats        hash    prefix; the last call of each client id
-- KEYS[6] totals         hash    counts of what was carried
-- ARGV[1] scope
-- ARGV[2] up_to          integer, the newest version the other end has
-- ARGV[3] max_history    integer
-- ARGV[4] client_id      '' where nobody reads how many were removed
-- ARGV[5] call           integer, the number of the client's call
-- ARGV[6] group          the consumer group that delivered the entries, '' for none
-- ARGV[7] clocks         of the entry up_to as it was delivered, and after it, a space between, of the other entries that
--   were delivered; '' where a user confirms
-- ARGV[8..] ids          entries to acknowledge
-- Reply: 'OK *' | 'ABOVE *' | 'REUSED' | 'CORRUPT *' | 'STALE': how many were removed; up_to was never written here,
--   the version is; the entry is not the one that was delivered, since the edge has lost data and given its version out
--   again; the document is damaged; the call was given up
-- Invariant: an entry leaves only when it, or a later version, is at the other end
-- Layout: not created, since it only changes what is there
-- Repeat: remembered with a client id, else idempotent: removed once
-- Refuse to write to a shard whose keys are, or will be, in another one: `<tag>:moved` exists. This stands before every
-- script that writes keys of a component whose shards can be moved, and before anything that the script does.
-- Needs: KEYS[1]
if redis.call('EXISTS', string.match(KEYS[1], '^[^}]*}') .. ':moved') == 1 then
  return redis.error_reply('ERMOVED this shard is being moved, or was')
end
-- Idempotency keys: the last sequence and reply of each client id, in one hash an hour, which expires by itself.
local REPEATS_BUCKET_MS = 3600000

local function repeats_key(prefix, bucket)
  return prefix .. ':' .. string.format('%d', bucket)
end

-- Return the reply of this call if it ran before, else nil. A sequence below the last one belongs to a call
-- that its caller has given up: it must not run, and gets STALE. A repeat writes an expiry, so that a WAIT after it has
-- a write to wait for: WAIT covers only the writes of its own connection, and a repeat may come on another connection.
local function recall(prefix, at_ms, client_id, sequence)
  local bucket = math.floor(at_ms / REPEATS_BUCKET_MS)
  local key = repeats_key(prefix, bucket)
  local seen = redis.call('HGET', key, client_id)
  if not seen then
    key = repeats_key(prefix, bucket - 1)
    seen = redis.call('HGET', key, client_id)
  end
  if not seen then return nil end
  local last = tonumber(string.match(seen, '^(%d+):'))
  if not last or last < tonumber(sequence) then return nil end -- not last: a damaged record, which is replaced
  if last > tonumber(sequence) then return 'STALE' end
  redis.call('PEXPIRE', key, 2 * REPEATS_BUCKET_MS)
  return string.match(seen, '^%d+:(.*)$')
end

local function remember(prefix, at_ms, client_id, sequence, reply)
  local key = repeats_key(prefix, math.floor(at_ms / REPEATS_BUCKET_MS))
  -- Setting the expiry at a client id's first call in the hour is enough: the hash is read in its own hour
  -- and in the next one only.
  if redis.call('HSET', key, client_id, sequence .. ':' .. reply) == 1 then
    redis.call('PEXPIRE', key, 2 * REPEATS_BUCKET_MS)
  end
end

-- A scope's document: its fields, its stamp and its clock.

-- MAX_VERSION of limits.py: above 2^53 a double cannot hold every integer.
local MAX_VERSION = 9007199254740000

-- '%d' takes a third of what '%.0f' takes, but a C long may have 32 bits.
local function integer(number)
  return string.format(number < 2147483648 and number > -2147483648 and '%d' or '%.0f', number)
end

-- Of clocks, which are digits of one length, and in order in every locale.
local function earlier(a, b)
  return a < b
end

-- The next hybrid logical clock: 12 digits of seconds and 6 of microseconds, by the server's time,
-- or one microsecond past the latest one seen, if that is not earlier.
local function next_clock(latest, time)
  time = time or redis.call('TIME')
  local now = string.format('%012d%06d', time[1], time[2])
  if earlier(latest, now) then return now end
  local seconds, micros = tonumber(string.sub(latest, 1, 12)), tonumber(string.sub(latest, 13))
  if not seconds or not micros then return now end -- a damaged clock
  micros = micros + 1
  if micros == 1000000 then seconds, micros = seconds + 1, 0 end
  return string.format('%012d%06d', seconds, micros)
end

-- The identity of a state among all states of its scope.
local function stamp(clock, checksum)
  return clock .. '-' .. string.sub(checksum, 1, 16)
end

local function is_clock(text)
  return text and #text == 18 and not string.find(text, '%D')
end

local function is_version(text)
  return text and #text <= 16 and string.find(text, '^%d+$')
end

-- The document without its data, which may be large and is seldom needed; nil where there is none. For a damaged
-- document, nil and the error reply; the next write repairs a damaged clock or peer version.
local function read_document(key)
  local found = redis.call('HMGET', key, 'version', 'peer_version', 'clock', 'latest_clock', 'origin', 'checksum',
    'ancestor', 'merged', 'signature', 'deleted')
  if not found[1] and not found[3] and redis.call('EXISTS', key) == 0 then return nil end
  if not (is_version(found[1]) and found[3] and found[5] and found[6] and found[7]) then
    return nil, 'CORRUPT the document is damaged'
  end
  return {
    version = tonumber(found[1]), peer_version = is_version(found[2]) and tonumber(found[2]) or 0,
    clock = found[3], latest_clock = is_clock(found[4]) and found[4] or is_clock(found[3]) and found[3] or '',
    origin = found[5], checksum = found[6], ancestor = found[7], merged = found[8] == '1',
    stamp = stamp(found[3], found[6]), signature = found[9] or nil,
    deleted = found[10] or nil,
  }
end

-- The newest version of an origin that this end has had, as one text.
local function seen_text(version, state)
  return integer(version) .. ':' .. string.sub(state.checksum, 1, 16) .. ':' .. state.clock
end

-- Write the document; `before` has the signature and the `deleted` that are there now, nil where there is no document.
-- `is_newest_of_origin` says that this version is the newest of its origin, `state.ends_splices` that the splices of the
-- document are of no more use.
local function write_document(key, before, state, is_newest_of_origin)
  local words = {'HSET', key, 'version', integer(state.version), 'peer_version', integer(state.peer_version),
    'clock', state.clock, 'latest_clock', state.latest_clock, 'origin', state.origin, 'checksum', state.checksum,
    'ancestor', state.ancestor}
  if state.data then
    words[#words + 1], words[#words + 2] = 'data', state.data
    local merged = string.byte(state.data, 1) == 146 -- an array of two, where all other bodies are maps (fields.py)
    if merged ~= (state.merged or false) then words[#words + 1], words[#words + 2] = 'merged', merged and '1' or '0' end
  end
  if state.signature then words[#words + 1], words[#words + 2] = 'signature', state.signature end
  if state.data and state.deleted then words[#words + 1], words[#words + 2] = 'deleted', state.deleted end
  if is_newest_of_origin then
    words[#words + 1], words[#words + 2] = 'seen:' .. state.origin, seen_text(state.version, state)
  end
  redis.call(unpack(words))
  if before and before.signature and not state.signature then redis.call('HDEL', key, 'signature') end
  if before and before.deleted and not state.deleted then redis.call('HDEL', key, 'deleted') end
  if state.ends_splices then redis.call('HDEL', key, 'splice') end
end

-- Splices: a body as its difference from another body, as in splice.py.
--
--   splice   <runs>:<replacements>
--   runs     offset length size of each run, all separated by spaces: `length` bytes of the base, `offset` bytes after the
--            run before it, are replaced by `size` bytes of the replacements

local MIN_BODY_BYTES, MAX_RUNS, ANCHOR_BYTES = 512, 128, 24
-- See splice.py.
local SURE_BYTES, NEAR_BYTES, MAX_STEP, WINDOW_BYTES = 256, 256, 65536, 4096
local MIN_SEARCH_BYTES, MAX_SEARCHED_BYTES = 1024, 524288

-- The numbers of a splice and the position of its colon; nil where they are damaged.
local function read_runs(splice)
  local colon = string.find(splice, ':', 1, true)
  if not colon or (colon > 1 and not string.find(splice, '^%d[%d ]*:')) then return nil end
  local numbers = {}
  for word in string.gmatch(string.sub(splice, 1, colon - 1), '%d+') do
    if #word > 9 or #numbers == 3 * MAX_RUNS then return nil end
    numbers[#numbers + 1] = tonumber(word)
  end
  if #numbers % 3 ~= 0 then return nil end
  return numbers, colon
end

-- The result of a splice; nil where it is damaged, or was made of another base. The caller compares the checksums.
local function apply_splice(base, splice)
  local numbers, colon = read_runs(splice)
  if not numbers then return nil end
  local parts, position, taken = {}, 0, colon
  for i = 1, #numbers, 3 do
    local start, size = position + numbers[i], numbers[i + 2]
    if start + numbers[i + 1] > #base or taken + size > #splice then return nil end
    parts[#parts + 1] = string.sub(base, position + 1, start)
    parts[#parts + 1] = string.sub(splice, taken + 1, taken + size)
    position, taken = start + numbers[i + 1], taken + size
  end
  if taken ~= #splice then return nil end
  parts[#parts + 1] = string.sub(base, position + 1)
  return table.concat(parts)
end

-- How many bytes, `most` at most, are the same after the two positions: by doubling, then by halving.
local function common_after(base, at, result, result_at, most)
  local known, high, size = 0, most, ANCHOR_BYTES
  while known < high do
    local length = size > 0 and math.min(known + size, high) or math.floor((known + high + 1) / 2)
    if string.sub(base, at + known + 1, at + length) == string.sub(result, result_at + known + 1, result_at + length) then
      known, size = length, 2 * size
    else
      high, size = length - 1, 0
    end
  end
  return known
end

-- The same before the two positions.
local function common_before(base, at, result, result_at, most)
  local known, high, size = 0, most, ANCHOR_BYTES
  while known < high do
    local length = size > 0 and math.min(known + size, high) or math.floor((known + high + 1) / 2)
    if string.sub(base, at - length + 1, at - known) == string.sub(result, result_at - length + 1, result_at - known) then
      known, size = length, 2 * size
    else
      high, size = length - 1, 0
    end
  end
  return known
end

-- The next part that both have in common (start and end in the base, start and end in the result), nil where none is
-- found, and how many bytes were searched.
local function find_common(base, result, rest)
  local best, gained, searched, step = nil, -#result, 0, 0
  while step <= MAX_STEP and rest[1] + step + ANCHOR_BYTES <= rest[2] do
    if best and (gained >= SURE_BYTES or step > math.max(NEAR_BYTES, 2 * (best[2] - rest[1]))) then break end
    local at, limit = rest[1] + step, math.min(rest[4], rest[3] + 2 * step + WINDOW_BYTES)
    local place = string.find(string.sub(result, rest[3] + 1, limit), string.sub(base, at + 1, at + ANCHOR_BYTES), 1, true)
    place = place and rest[3] + place - 1
    searched = searched + math.max(MIN_SEARCH_BYTES, (place or limit) - rest[3])
    if place then
      local behind = common_before(base, at, result, place, math.min(step, place - rest[3]))
      local ahead = common_after(base, at, result, place, math.min(rest[2] - at, rest[4] - place))
      local gain = 2 * behind + ahead - (place - rest[3])
      if gain > gained then
        best, gained = {at - behind, at + ahead, place - behind, place + ahead}, gain
      end
    end
    step = step == 0 and 16 or 2 * step
  end
  return best, searched
end

-- The parts that differ, in order: start and end in the base, start and end in the result. Each ends where a block of the
-- base is found again in the result.
local function find_runs(base, result)
  local most = math.min(#base, #result)
  local ahead = common_after(base, 0, result, 0, most)
  local behind = common_before(base, #base, result, #result, most - ahead)
  local rest, runs, searched = {ahead, #base - behind, ahead, #result - behind}, {}, 0
  while rest[1] < rest[2] or rest[3] < rest[4] do
    local common, count
    if #runs < MAX_RUNS - 1 and searched < MAX_SEARCHED_BYTES then
      common, count = find_common(base, result, rest)
      searched = searched + count
    end
    if not common then
      runs[#runs + 1] = rest
      break
    end
    runs[#runs + 1] = {rest[1], common[1], rest[3], common[3]}
    rest = {common[2], rest[2], common[4], rest[4]}
  end
  return runs
end

-- The splice that makes the result of the base, nil where it would have more than half the result's bytes.
local function make_splice(base, result)
  if #result < MIN_BODY_BYTES or #base == 0 then return nil end
  local numbers, replacements, last, size = {}, {}, 0, 0
  for _, run in ipairs(find_runs(base, result)) do
    numbers[#numbers + 1] = string.format('%d %d %d', run[1] - last, run[2] - run[1], run[4] - run[3])
    replacements[#replacements + 1] = string.sub(result, run[3] + 1, run[4])
    last, size = run[2], size + run[4] - run[3]
  end
  if 2 * size > #result then return nil end
  return table.concat(numbers, ' ') .. ':' .. table.concat(replacements)
end

-- Several splices applied at once: a body is made once, and not after each of them.
-- Needs: read_runs

-- The result of splices, each of which was made of the result of the one before; nil where one is damaged. A body is
-- parts meanwhile: each of a text, from its start, of its size.
local function apply_splices(base, splices)
  local texts, starts, sizes = {base}, {1}, {#base}
  local insert, remove = table.insert, table.remove
  local function put(at, text, start, size)
    insert(texts, at, text)
    insert(starts, at, start)
    insert(sizes, at, size)
  end
  -- Cut the part at `at` in two, where the cut is inside it; return the index of the second.
  local function cut(at, offset)
    if offset == 0 then return at end
    local size = sizes[at]
    if offset < size then
      put(at + 1, texts[at], starts[at] + offset, size - offset)
      sizes[at] = offset
    end
    return at + 1
  end
  for _, splice in ipairs(splices) do
    local numbers, taken = read_runs(splice)
    if not numbers then return nil end
    local at = 1
    for i = 1, #numbers, 3 do
      local offset, length, size = numbers[i], numbers[i + 1], numbers[i + 2]
      while sizes[at] and sizes[at] < offset do
        offset = offset - sizes[at]
        at = at + 1
      end
      if (offset > 0 and not sizes[at]) or taken + size > #splice then return nil end
      at = cut(at, offset)
      while sizes[at] and sizes[at] <= length do
        length = length - sizes[at]
        remove(texts, at)
        remove(starts, at)
        remove(sizes, at)
      end
      if length > 0 then
        if not sizes[at] then return nil end
        starts[at], sizes[at] = starts[at] + length, sizes[at] - length
      end
      if size > 0 then
        put(at, splice, taken + 1, size)
        at, taken = at + 1, taken + size
      end
    end
    if taken ~= #splice then return nil end
  end
  for i, text in ipairs(texts) do
    if sizes[i] ~= #text then texts[i] = string.sub(text, starts[i], starts[i] + sizes[i] - 1) end
  end
  return table.concat(texts)
end

-- The entries of an outbox and their bodies.
--
-- Each entry has a body, or a splice against the entry before it. The oldest always has a body: where it was written as a
-- splice, that is in the hash `bodies`, made before the entries that it was made of were removed. The newest body is the
-- document's, if no state of the other end has replaced that.
-- Needs: apply_splices, integer

local MAX_CHAIN_ENTRIES = 128 -- splices between two bodies, so that a body is made of them in a few milliseconds

-- The keys beside an outbox: the document, the bodies, and the bytes of all outboxes.
local function keys_beside(pending)
  local tag, scope = string.match(pending, '^([^}]*}):pending:(.*)$')
  return tag .. ':doc:' .. scope, tag .. ':bodies:' .. scope, tag .. ':pending_bytes', scope
end

local function read_entry(found)
  if not found then return nil end
  local entry = {id = found[1], version = string.match(found[1], '^%d+')}
  for i = 1, #found[2], 2 do entry[found[2][i]] = found[2][i + 1] end
  return entry
end

-- The body of an entry; nil where a splice that it is made of is damaged or gone.
local function body_of(pending, entry)
  if not entry.splice then return entry.data end
  local doc, bodies = keys_beside(pending)
  if redis.call('HGET', doc, 'checksum') == entry.checksum then return redis.call('HGET', doc, 'data') end
  local body = redis.call('HGET', bodies, entry.version)
  if body then return body end
  local splices, base = {entry.splice}, entry.base
  local count = math.min(tonumber(string.match(entry.chain or '', '^%d+')) or 0, MAX_CHAIN_ENTRIES)
  local before = integer(tonumber(entry.version) - 1) .. '-0'
  for _, found in ipairs(redis.call('XREVRANGE', pending, before, '-', 'COUNT', count)) do
    local earlier_entry = read_entry(found)
    if earlier_entry.checksum ~= base then return nil end
    body = not earlier_entry.splice and earlier_entry.data or redis.call('HGET', bodies, earlier_entry.version)
    if body then return apply_splices(body, splices) end
    if not earlier_entry.splice then return nil end
    table.insert(splices, 1, earlier_entry.splice)
    base = earlier_entry.base
  end
  return nil
end

-- Writing one entry to an outbox.
-- Needs: integer

local ENTRY_BYTES = 256 -- what an entry takes besides its body or its splice, about

-- Append a state to the outbox: in full or as a splice, at its position in bytes. Where the plan has max_entries, older
-- entries are removed, which must have no splices.
local function add_entry(pending, plan, state, is_delta)
  local id = integer(state.version) .. '-0'
  local words
  if plan.splice then
    words = {'XADD', pending, id, 'splice', plan.splice, 'base', plan.base, 'size', plan.size, 'chain', plan.chain}
  elseif plan.max_entries then
    words = {'XADD', pending, 'MAXLEN', '=', plan.max_entries, id, 'data', plan.data}
  else
    words = {'XADD', pending, id, 'data', plan.data}
  end
  local n = #words
  words[n + 1], words[n + 2], words[n + 3], words[n + 4] = 'position', integer(plan.position), 'checksum', state.checksum
  words[n + 5], words[n + 6], words[n + 7], words[n + 8] = 'clock', state.clock, 'origin', state.origin
  words[n + 9], words[n + 10], words[n + 11], words[n + 12] = 'ancestor', state.ancestor, 'is_delta', is_delta
  if state.signature then words[n + 13], words[n + 14] = 'signature', state.signature end
  redis.call(unpack(words))
end

-- Writing to an outbox: entries in full or as splices, their bounds, and the bytes that they take.
-- Needs: ENTRY_BYTES, MAX_CHAIN_ENTRIES, MIN_BODY_BYTES, add_entry, body_of, integer, keys_beside, read_entry

local MAX_CHAIN_RUNS = 400 -- runs of the splices between two bodies together
local MAX_SPLICED_BYTES = 256 * 1024 -- of a body that a script makes a splice for; clients make those of larger ones
local MAX_DROPPED = 1000 -- entries that coalesce in one call, where max_pending was lowered

-- The entry of a version, or the next one that there is.
local function entry_from(pending, version)
  return read_entry(redis.call('XRANGE', pending, version .. '-0', '+', 'COUNT', 1)[1])
end

-- Whether the body of an entry must be made before the entries before it are removed.
local function is_dependent(pending, entry)
  local _, bodies = keys_beside(pending)
  return entry.splice and redis.call('HEXISTS', bodies, entry.version) == 0
end

-- The positions in bytes at which the entries begin and end. That of the oldest is less by its body in `bodies`.
local function read_positions(pending)
  local _, _, bytes, scope = keys_beside(pending)
  local first, last = string.match(redis.call('HGET', bytes, scope) or '', '^(-?%d+) (%d+)$')
  return tonumber(first) or 0, tonumber(last) or 0
end

local function write_positions(pending, first, last)
  local _, _, bytes, scope = keys_beside(pending)
  redis.call('HSET', bytes, scope, integer(first) .. ' ' .. integer(last))
end

local function count_runs(splice)
  local _, spaces = string.gsub(string.match(splice, '^[^:]*'), ' ', ' ')
  return spaces > 0 and (spaces + 1) / 3 or 0
end

-- What is to be done where entries are removed and `left` becomes the oldest: its body where that must be made, and the
-- bodies of the removed ones. Reads only.
local function plan_removal(pending, left)
  local _, bodies = keys_beside(pending)
  local removal = {left = left, first = tonumber(left.position) or 0, unneeded = {}}
  for _, version in ipairs(redis.call('HKEYS', bodies)) do
    if tonumber(version) < tonumber(left.version) then table.insert(removal.unneeded, version) end
  end
  if not left.splice then return removal end
  local size = redis.call('HSTRLEN', bodies, left.version)
  if size == 0 then
    removal.body = body_of(pending, left)
    size = #(removal.body or '')
  end
  removal.first = removal.first - size
  return removal
end

-- Remove the entries before the one that stays; return how many there were.
local function remove_before(pending, removal)
  local _, bodies = keys_beside(pending)
  local removed = redis.call('XTRIM', pending, 'MINID', removal.left.version .. '-0')
  for _, version in ipairs(removal.unneeded) do redis.call('HDEL', bodies, version) end
  if removal.body then redis.call('HSET', bodies, removal.left.version, removal.body) end
  return removed
end

-- The bounds of an outbox as a scope's settings give them: max_pending, and the policy, which max_pending_bytes follows.
local function read_bounds(max_pending, overflow)
  local policy, max_bytes = string.match(overflow, '^(%a+):?(%d*)$')
  return {entries = tonumber(max_pending), bytes = tonumber(max_bytes) or math.huge, rejects = policy == 'reject'}
end

local NEWEST_ALONE = {entries = 1, bytes = math.huge, rejects = false} -- of a scope that no worker pushes

-- Let a planned entry be a splice against the newest one, if that has the state of the checksum `base`, and if it is
-- worth it. `find_splice` returns the splice against that state, nil where there is none.
local function splice_entry(plan, pending, data, base, find_splice)
  if #data < MIN_BODY_BYTES then return end
  local newest = read_entry(redis.call('XREVRANGE', pending, '+', '-', 'COUNT', 1)[1])
  if not newest or newest.checksum ~= base then return end
  local entries, runs, bytes = string.match(newest.splice and newest.chain or '0 0 0', '^(%d+) (%d+) (%d+)$')
  if not entries or tonumber(entries) >= MAX_CHAIN_ENTRIES or tonumber(bytes) > #data then return end
  local splice = find_splice()
  if not splice then return end
  local replaced = #splice - #string.match(splice, '^[^:]*:?')
  if 2 * replaced > #data then return end -- update.lua relies on it
  runs = tonumber(runs) + count_runs(splice)
  if runs > MAX_CHAIN_RUNS then return end
  plan.splice, plan.base, plan.size = splice, base, integer(#data)
  plan.chain = integer(entries + 1) .. ' ' .. integer(runs) .. ' ' .. integer(bytes + #splice)
end

-- The oldest entry that stays within the bounds, nil where the new one alone does.
local function find_oldest_left(pending, plan, bounds, waiting)
  local surplus = math.min(waiting + 1 - bounds.entries, MAX_DROPPED)
  if surplus >= waiting then return nil end
  local at_surplus = math.max(surplus, 0) + 1
  local left = read_entry(redis.call('XRANGE', pending, '-', '+', 'COUNT', at_surplus)[at_surplus])
  if plan.last - plan.first <= bounds.bytes then return left end
  -- The bytes that remain where an entry is the oldest, for which its own body may have to be made.
  local function fits(entry)
    local body = is_dependent(pending, entry) and tonumber(entry.size) or 0
    return plan.last - (tonumber(entry.position) or 0) + body <= bounds.bytes
  end
  local low = tonumber(left.version) + (surplus > 0 and 0 or 1)
  local high = tonumber(string.match(redis.call('XREVRANGE', pending, '+', '-', 'COUNT', 1)[1][1], '^%d+')) + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    local entry = entry_from(pending, integer(middle))
    if not entry or fits(entry) then high = middle else low = tonumber(entry.version) + 1 end
  end
  return entry_from(pending, integer(low))
end

-- Plan how a state goes into the outbox: in full or as a splice, and which entries coalesce into later ones; nil where the
-- outbox is full and its policy is to reject. Reads only. `base` is the checksum of the document before, '' for none.
local function plan_entry(pending, data, base, find_splice, bounds, waiting)
  if bounds.rejects and waiting >= bounds.entries then return nil end
  local plan = {data = data}
  plan.first, plan.position = read_positions(pending)
  if waiting == 0 then plan.first, plan.position = 0, 0 end
  if waiting > 0 and bounds.entries > 1 then splice_entry(plan, pending, data, base, find_splice) end
  plan.last = plan.position + ENTRY_BYTES + #(plan.splice or data)
  if waiting == 0 or (waiting < bounds.entries and plan.last - plan.first <= bounds.bytes) then return plan end
  if bounds.rejects then return nil end
  local left = find_oldest_left(pending, plan, bounds, waiting)
  if left then
    plan.removal = plan_removal(pending, left)
    plan.first = plan.removal.first
  else
    plan.splice, plan.is_alone = nil, true
    plan.first, plan.last = plan.position, plan.position + ENTRY_BYTES + #data
    local _, bodies = keys_beside(pending)
    redis.call('HLEN', bodies) -- a key of another type stops the script here
  end
  return plan
end

-- Remove the entries that coalesce into later ones as planned, after the planned one was added.
local function remove_planned(pending, plan, state)
  if plan.removal then remove_before(pending, plan.removal) end
  if plan.is_alone then
    local _, bodies = keys_beside(pending)
    redis.call('XTRIM', pending, 'MINID', integer(state.version) .. '-0')
    redis.call('DEL', bodies)
  end
end

-- Append a change to the outbox as planned. When the outbox is over its bounds, later entries hold the effect of the
-- oldest ones, which are removed.
local function append_entry(pending, plan, state, is_delta)
  add_entry(pending, plan, state, is_delta)
  remove_planned(pending, plan, state)
  write_positions(pending, plan.first, plan.last)
end

-- Put a state in the place of the newest entry, which has the same data or is given up.
local function replace_newest(pending, state, data)
  local _, bodies = keys_beside(pending)
  local newest = read_entry(redis.call('XREVRANGE', pending, '+', '-', 'COUNT', 1)[1])
  local plan = {data = data, position = tonumber(newest.position) or 0}
  plan.first = read_positions(pending)
  local body = redis.call('HGET', bodies, newest.version)
  if newest.splice and newest.checksum == state.checksum then
    plan.splice, plan.base, plan.size, plan.chain = newest.splice, newest.base, newest.size, newest.chain
  end
  plan.last = plan.position + ENTRY_BYTES + #(plan.splice or data)
  redis.call('XDEL', pending, newest.id)
  if body then redis.call('HDEL', bodies, newest.version) end
  if body and plan.splice then redis.call('HSET', bodies, integer(state.version), body) end
  append_entry(pending, plan, state, '0')
end

-- The tag of shard 0, whose channels serve all shards.
local function hint_tag(tag)
  local found = string.gsub(tag, '%d+%.%d+%.%d+}$', '0}')
  return found
end

-- The hint to the workers of an edge: there may be something to carry (keys.py).
-- Needs: hint_tag

-- `key` is any key of the edge. Publishing may be forbidden to this user.
local function publish_edge_hint(key)
  redis.pcall('PUBLISH', hint_tag(string.match(key, '^[^}]*}')) .. ':wake', '')
end

-- The scores of the index of scopes with changes in their outbox (outbox.lua).
-- Needs: integer

-- So much less is the score of an urgent scope than that of another one since the same time: urgent ones come first.
local URGENT_MS = 10000000000000

-- In ms. A scope's clock may be ahead of the time: with a score in the future it would never be served.
local function waiting_since(clock, at)
  local clock_ms = tonumber(string.match(clock, '^%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d') or '0')
  return math.min(clock_ms, at)
end

local function score_of(since, is_urgent)
  return integer(is_urgent and since - URGENT_MS or since)
end

-- The index of scopes with changes in their outbox that a worker pushes.
-- Needs: keys_beside, publish_edge_hint, score_of, waiting_since, write_positions

-- Add a scope that is not in the index, and publish a hint to the workers.
local function add_to_work_index(work, scope, since, is_urgent)
  redis.call('ZADD', work, score_of(since, is_urgent), scope)
  publish_edge_hint(work)
end

-- Call after the oldest entries have left the outbox: delete an empty outbox, and update the index. `removal` is that of
-- `plan_removal`, nil where no entry is left; `last` is where the newest entry ends.
local function update_work_index(pending, work, scope, at, removal, last)
  local _, bodies, bytes = keys_beside(pending)
  if not removal then
    redis.call('DEL', pending, bodies)
    redis.call('HDEL', bytes, scope)
    redis.call('ZREM', work, scope)
    return
  end
  write_positions(pending, removal.first, last)
  local score = tonumber(redis.call('ZSCORE', work, scope) or nil) -- none of a scope that no worker pushes
  if not score or not removal.left.clock then return end
  local since = waiting_since(removal.left.clock, at)
  redis.call('ZADD', work, score_of(since, score < 0), scope)
end

-- Append an exchange with the other end to a scope's history.
-- Needs: integer
local function record(history, max_history, direction, version, success, message)
  redis.call('XADD', history, 'MAXLEN', max_history, '*', 'direction', direction,
    'version', integer(version), 'success', success, 'error', message)
end

-- Counters of what was carried, which only rise. A damaged one begins again at 0.
-- Needs: integer, is_clock, is_version

local BUCKETS_PER_DOUBLING = 32 -- of _core/sketch.py

-- Add amounts by name, and check first: an increment of a damaged counter would stop the script.
local function add_to_totals(totals, amounts)
  for name, amount in pairs(amounts) do
    local before = redis.call('HGET', totals, name)
    if before and not is_version(before) then redis.call('HDEL', totals, name) end
    redis.call('HINCRBY', totals, name, integer(amount))
  end
end

-- Add the times from these clocks until now to the histogram. A clock ahead of the server's time is left out: it was
-- read from a state of another server, and says nothing about when the change was made.
local function add_delivery_times(amounts, clocks, now)
  local now_us = tonumber(now[1]) * 1000000 + tonumber(now[2])
  for clock in string.gmatch(clocks, '%S+') do
    local us = now_us - (is_clock(clock) and tonumber(clock) or math.huge)
    if us >= 0 then
      local index = math.ceil(math.log(math.max(us, 1) / 1000) / math.log(2) * BUCKETS_PER_DOUBLING) - 1
      local name = 'time:' .. integer(index)
      amounts[name] = (amounts[name] or 0) + 1
      amounts.time_us = (amounts.time_us or 0) + us
    end
  end
end

local doc, pending, history, work, repeats, totals = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local scope, up_to, client_id, group, clocks = ARGV[1], tonumber(ARGV[2]), ARGV[4], ARGV[6], ARGV[7]
local clock = string.match(clocks, '^%S+')
local now = redis.call('TIME')
local at = now[1] * 1000 + math.floor(now[2] / 1000)

if client_id ~= '' then
  local before = recall(repeats, at, client_id, ARGV[5])
  if before then return before end
end
local current, damage = read_document(doc)
if damage then return damage end
local version = current and current.version or 0
if up_to > version then return 'ABOVE ' .. integer(version) end

redis.call('ZSCORE', work, scope)
redis.call('XLEN', history)
redis.call('XLEN', pending)
redis.call('HLEN', totals)
local _, last = read_positions(pending)
local left = entry_from(pending, integer(up_to + 1))
local removal = left and plan_removal(pending, left)
redis.call('ZREM', work, '') -- a first write that needs no memory, see lease_entries.lua
if clock then
  local entry = redis.call('XRANGE', pending, integer(up_to) .. '-0', integer(up_to) .. '-0')[1]
  if entry then
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'clock' and entry[2][i + 1] ~= clock then return 'REUSED' end
    end
  end
end
if group ~= '' and ARGV[8] then
  redis.call('XACK', pending, group, unpack(ARGV, 8))
end
local removed = removal and remove_before(pending, removal)
  or redis.call('XTRIM', pending, 'MINID', integer(up_to + 1) .. '-0')
if removed > 0 then update_work_index(pending, work, scope, at, removal, last) end
if removed > 0 and group ~= '' then
  local amounts = {pushed = removed}
  add_delivery_times(amounts, clocks, now)
  add_to_totals(totals, amounts)
end
local is_news = current and up_to > current.peer_version
if is_news then redis.call('HSET', doc, 'peer_version', integer(up_to)) end
if removed > 0 or is_news then record(history, tonumber(ARGV[3]), 'push', up_to, '1', '') end
local reply = 'OK ' .. integer(removed)
if client_id ~= '' then remember(repeats, at, client_id, ARGV[5], reply) end
return reply
