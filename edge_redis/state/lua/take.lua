-- Deliver the oldest entries of a scope's outbox to one worker, unless another one has it.
-- KEYS[1] pending        stream  the scope's outbox
-- KEYS[2] work           zset    scopes with something in their outbox
-- KEYS[3] scopes         hash    each scope's settings
-- KEYS[4] doc            hash    the scope's document
-- ARGV[1] scope
-- ARGV[2] group
-- ARGV[3] consumer
-- ARGV[4] count          integer, the most entries
-- ARGV[5] claim_idle_ms  integer, after which a worker that has not confirmed is taken for dead
-- ARGV[6] max_bytes      integer, what the entries should hold together, by the size of the present state
-- Reply: {settings, id, deliveries, clock, origin, checksum, base, data, is_delta, id, ...}, oldest first;
--        {settings} alone where there is nothing, or another worker is at it
-- Invariant: the entries delivered and not confirmed of one scope are one worker's: they are its lease
-- Repeat: idempotent, but for the count of deliveries: what is already this worker's is given again
local pending, work, scopes = KEYS[1], KEYS[2], KEYS[3]
local FIELDS = {'clock', 'origin', 'checksum', 'base', 'data', 'is_delta'}
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
for _, entry in ipairs(held) do
  if entry[2] ~= consumer and entry[3] < claim_idle_ms then return reply end
end
for _, entry in ipairs(held) do
  entry[4] = entry[4] + 1
  redis.call('XCLAIM', pending, group, consumer, 0, entry[1], 'RETRYCOUNT', entry[4], 'JUSTID')
end
if #held < count then
  redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count - #held, 'STREAMS', pending, '>')
  held = redis.call('XPENDING', pending, group, '-', '+', count)
end
if #held == 0 then return reply end

local entries = {}
for _, entry in ipairs(redis.call('XRANGE', pending, held[1][1], held[#held][1])) do
  local values = {}
  for i = 1, #entry[2], 2 do values[entry[2][i]] = entry[2][i + 1] end
  entries[entry[1]] = values
end
for _, entry in ipairs(held) do
  local id, values = entry[1], entries[entry[1]]
  if values then
    reply[#reply + 1] = id
    reply[#reply + 1] = entry[4]
    for _, name in ipairs(FIELDS) do reply[#reply + 1] = values[name] or '' end
  else -- coalesced away while it was under way
    redis.call('XACK', pending, group, id)
  end
end
return reply
