-- Deliver the oldest entries of a scope's outbox to one worker, unless another one has it.
-- KEYS[1] pending        stream  the scope's outbox
-- KEYS[2] work           zset    scopes with something in their outbox
-- KEYS[3] scopes         hash    each scope's settings
-- ARGV[1] scope
-- ARGV[2] group
-- ARGV[3] consumer
-- ARGV[4] count          integer, the most entries
-- ARGV[5] claim_idle_ms  integer, after which a worker that has not confirmed is taken for dead
-- Reply: {settings, id, deliveries, fields, id, ...}, oldest first, {settings} alone where there is nothing
--        or another worker is at it
-- Invariant: the entries delivered and not confirmed of one scope are one worker's: they are its lease
-- Repeat: idempotent, but for the count of deliveries: what is already this worker's is given again
local pending, work, scopes = KEYS[1], KEYS[2], KEYS[3]
local scope, group, consumer = ARGV[1], ARGV[2], ARGV[3]
local count, claim_idle_ms = tonumber(ARGV[4]), tonumber(ARGV[5])

local reply = {redis.call('HGET', scopes, scope) or ''}
if redis.call('XLEN', pending) == 0 then
  redis.call('ZREM', work, scope)
  return reply
end
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

local fields = {}
for _, entry in ipairs(redis.call('XRANGE', pending, held[1][1], held[#held][1])) do
  fields[entry[1]] = entry[2]
end
for _, entry in ipairs(held) do
  local id = entry[1]
  if fields[id] then
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = id, entry[4], fields[id]
  else -- coalesced away while it was under way
    redis.call('XACK', pending, group, id)
  end
end
return reply
