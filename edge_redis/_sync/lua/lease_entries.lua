-- Lease the oldest entries of a scope's outbox to one worker, unless another worker has the scope.
-- KEYS[1] pending        stream  the scope's outbox; beside it its document and its bodies (see keys.py)
-- KEYS[2] work           zset    scopes with changes in their outbox
-- KEYS[3] scopes         hash    the settings of each scope
-- ARGV[1] scope
-- ARGV[2] group
-- ARGV[3] consumer       the worker's name, `#` and a token of this process
-- ARGV[4] count          integer, the most entries
-- ARGV[5] claim_idle_ms  integer, after which a worker that has not confirmed is taken for dead
-- ARGV[6] max_bytes      integer, of the data of all entries, once made of their splices, but of one entry at least
-- Reply: [string, string...]: the scope's settings, and entries, oldest first, each a leased entry as in
--   include/wire.lua, the first with its body; no entry where the outbox is empty, or another worker has the scope
-- Invariant: all entries of a scope that are delivered and not confirmed belong to one worker: they are its lease
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent: a worker gets its own entries again, and only those of another count as tried once more
-- include: document
-- include: splice
-- include: splice_chain
-- include: outbox_bodies
-- include: leased
local pending, work, scopes = KEYS[1], KEYS[2], KEYS[3]
local TOKEN, PAGE = 13, 4 -- `#` and 12 digits; entries read at once, of which the last ones may be over the bytes
local scope, group, consumer = ARGV[1], ARGV[2], ARGV[3]
local count, claim_idle_ms, bytes_left = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

-- A first write that needs no memory lets the server allow the others where memory is short: draining frees memory.
redis.call('ZREM', work, '')
local reply = {redis.call('HGET', scopes, scope) or ''}
if redis.call('XLEN', pending) == 0 then
  redis.call('ZREM', work, scope)
  return reply
end
local held = redis.pcall('XPENDING', pending, group, '-', '+', count)
if held.err then -- no such group: nothing in the outbox is confirmed, so it begins at 0
  redis.pcall('XGROUP', 'CREATE', pending, group, '0')
  held = redis.call('XPENDING', pending, group, '-', '+', count)
end

-- A worker that was started again under its name need not wait for the entries of its former process.
local function may_claim(owner, idle_ms)
  return idle_ms >= claim_idle_ms
    or (#owner == #consumer and string.sub(owner, 1, -1 - TOKEN) == string.sub(consumer, 1, -1 - TOKEN))
end
local is_taken = false
for _, entry in ipairs(held) do
  if entry[2] ~= consumer and not may_claim(entry[2], entry[3]) then
    is_taken = true
    -- Delivered just now, or at a time that is to come, as the server's clock was put back: now, then.
    if entry[3] <= 0 then
      redis.call('XCLAIM', pending, group, entry[2], 0, entry[1], 'IDLE', 0, 'RETRYCOUNT', entry[4], 'JUSTID')
    end
  end
end
if is_taken then return reply end
local tries, owners = {}, {}
for _, entry in ipairs(held) do
  tries[entry[1]] = entry[2] == consumer and math.max(1, entry[4]) or entry[4] + 1
  redis.call('XCLAIM', pending, group, consumer, 0, entry[1], 'RETRYCOUNT', tries[entry[1]], 'JUSTID')
  if entry[2] ~= consumer then owners[entry[2]] = true end
end
-- Remove consumers without entries, since each start of a worker adds one: the former owners, and all others when this
-- worker is new. The consumer of a live worker is created again with its next entry.
local function remove_if_idle(name)
  if name ~= consumer and #redis.call('XPENDING', pending, group, '-', '+', 1, name) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', pending, group, name)
  end
end
for name in pairs(owners) do remove_if_idle(name) end
if redis.call('XGROUP', 'CREATECONSUMER', pending, group, consumer) == 1 then
  for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', pending, group)) do
    for i = 1, #info, 2 do
      if info[i] == 'name' then remove_if_idle(info[i + 1]) end
    end
  end
end

-- Add an entry to the reply; false where there is no room for it.
local checksum_before
local function add(found)
  local entry = read_entry(found)
  local size = entry.splice and tonumber(entry.size) or #(entry.data or '')
  if #reply > 1 and size > bytes_left then return false end
  bytes_left = bytes_left - size
  reply[#reply + 1] = format_entry(pending, entry, tries[entry.id] or 1, checksum_before)
  checksum_before = entry.checksum
  return true
end
for _, entry in ipairs(held) do
  local found = redis.call('XRANGE', pending, entry[1], entry[1])[1]
  if not found then
    redis.call('XACK', pending, group, entry[1]) -- coalesced meanwhile
  elseif not add(found) then
    return reply
  end
end
local left = count - #held
while left > 0 do
  local page = math.min(left, PAGE)
  local new = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', page, 'STREAMS', pending, '>')
  local entries = new and new[1] and (type(new[1]) == 'string' and new[2] or new[1][2]) or {} -- fakeredis: flat
  for _, entry in ipairs(entries) do -- an entry without room stays this worker's, and is in its next lease
    if not add(entry) then return reply end
  end
  if #entries < page then return reply end
  left = left - page
end
return reply
