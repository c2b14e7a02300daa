-- Deliver the oldest entries of a scope's outbox to one worker, unless another one has it.
-- KEYS[1] pending        stream  the scope's outbox
-- KEYS[2] work           zset    scopes with something in their outbox
-- KEYS[3] scopes         hash    each scope's settings
-- KEYS[4] doc            hash    the scope's document
-- ARGV[1] scope
-- ARGV[2] group
-- ARGV[3] consumer       the worker's name, `#` and a token of this life of it
-- ARGV[4] count          integer, the most entries
-- ARGV[5] claim_idle_ms  integer, after which a worker that has not confirmed is taken for dead
-- ARGV[6] max_bytes      integer, what the entries should hold together, by the size of the present state
-- Reply: {settings, entry, entry, ...}, oldest first, an entry being the length of its head, `:`, the head (id, tries,
--        is_delta, clock, checksum, base, signature and origin, a space between each), and its data; {settings} alone
--        where there is nothing, or another worker is at it
-- Invariant: the entries delivered and not confirmed of one scope are one worker's: they are its lease
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent: what is this worker's is given again, and counts as a new try only where it was another's
local pending, work, scopes = KEYS[1], KEYS[2], KEYS[3]
local TOKEN = 13 -- `#` and 12 digits
local scope, group, consumer = ARGV[1], ARGV[2], ARGV[3]
local count, claim_idle_ms = tonumber(ARGV[4]), tonumber(ARGV[5])

local reply = {redis.call('HGET', scopes, scope) or ''}
if redis.call('XLEN', pending) == 0 then
  redis.call('ZREM', work, scope)
  return reply
end
local size = redis.call('HSTRLEN', KEYS[4], 'data')
count = math.max(1, math.min(count, math.floor(tonumber(ARGV[6]) / math.max(1, size))))
local held = redis.pcall('XPENDING', pending, group, '-', '+', count)
if held.err then -- no such group: whatever is in the outbox is unconfirmed, so it begins at 0
  redis.pcall('XGROUP', 'CREATE', pending, group, '0')
  held = redis.call('XPENDING', pending, group, '-', '+', count)
end

-- A worker that was started again under its name need not wait for its own former life.
local function may_claim(owner, idle_ms)
  return idle_ms >= claim_idle_ms
    or (#owner == #consumer and string.sub(owner, 1, -1 - TOKEN) == string.sub(consumer, 1, -1 - TOKEN))
end
for _, entry in ipairs(held) do
  if entry[2] ~= consumer and not may_claim(entry[2], entry[3]) then return reply end
end
local tries = {}
for _, entry in ipairs(held) do
  tries[entry[1]] = entry[2] == consumer and math.max(1, entry[4]) or entry[4] + 1
  redis.call('XCLAIM', pending, group, consumer, 0, entry[1], 'RETRYCOUNT', tries[entry[1]], 'JUSTID')
end

local gone = {}
for _, entry in ipairs(held) do gone[entry[1]] = true end
local function add(entries)
  for _, entry in ipairs(entries) do
    local words, value = entry[2], {}
    for i = 1, #words, 2 do value[words[i]] = words[i + 1] end
    local head = table.concat({entry[1], tries[entry[1]] or 1, value.is_delta or '', value.clock or '',
      value.checksum or '', value.base or '', value.signature or '', value.origin or ''}, ' ')
    reply[#reply + 1] = #head .. ':' .. head .. (value.data or '')
    gone[entry[1]] = nil
  end
end
if #held > 0 then
  local found = redis.call('XRANGE', pending, held[1][1], held[#held][1])
  local own = {}
  for _, entry in ipairs(found) do
    if tries[entry[1]] then own[#own + 1] = entry end
  end
  add(own)
end
if #held < count then
  local new = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count - #held, 'STREAMS', pending, '>')
  if new and new[1] then add(type(new[1]) == 'string' and new[2] or new[1][2]) end -- fakeredis gives it flat
end
for id in pairs(gone) do redis.call('XACK', pending, group, id) end -- coalesced away while it was under way
return reply
