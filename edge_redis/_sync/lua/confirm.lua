-- Take from the outbox what the other end has, with the checkpoint that says so.
-- KEYS[1] doc            hash    the scope's document
-- KEYS[2] pending        stream  its outbox
-- KEYS[3] work           zset    scopes with something in their outbox
-- KEYS[4] history        stream  capped
-- KEYS[5] repeats        hash    prefix; the last call of each slot
-- KEYS[6] totals         hash    how much has been carried
-- ARGV[1] scope
-- ARGV[2] up_to          integer, the newest version the other end has
-- ARGV[3] max_history    integer
-- ARGV[4] slot           '' where nobody reads how many were removed
-- ARGV[5] number
-- ARGV[6] group          the consumer group that delivered the entries, '' for none
-- ARGV[7] clock          of the entry up_to as it was delivered, '' where a user confirms
-- ARGV[8..] ids          entries to acknowledge
-- Reply: `OK <removed>`; `ABOVE <version>` where up_to was never written here; `OTHER` where the entry is not the one
--        that was delivered: the edge has lost data since, and given its version out again
-- Invariant: an entry leaves only when it, or a later version, is at the other end
-- Layout: not created, since it only changes what is there
-- Repeat: remembered with a slot, else idempotent: removed once
-- include: clock
-- include: idempotency
-- include: document
-- include: outbox
-- include: history
local doc, pending, work, history, repeats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local scope, up_to, slot, group = ARGV[1], tonumber(ARGV[2]), ARGV[4], ARGV[6]
local at = now_ms()

if slot ~= '' then
  local before = recall(repeats, at, slot, ARGV[5])
  if before then return before end
end
local current = read_document(doc)
local version = current and current.version or 0
if up_to > version then return 'ABOVE ' .. integer(version) end

redis.call('ZSCORE', work, scope)
redis.call('XLEN', history)
if ARGV[7] ~= '' then
  local entry = redis.call('XRANGE', pending, integer(up_to) .. '-0', integer(up_to) .. '-0')[1]
  if entry then
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'clock' and entry[2][i + 1] ~= ARGV[7] then return 'OTHER' end
    end
  end
end
redis.call('XLEN', pending)
if group ~= '' and ARGV[8] then
  redis.call('XACK', pending, group, unpack(ARGV, 8))
end
if group ~= '' then redis.call('HGET', KEYS[6], 'pushed') end
local removed = redis.call('XTRIM', pending, 'MINID', integer(up_to + 1) .. '-0')
if removed > 0 then settle(pending, work, scope, at) end
if removed > 0 and group ~= '' then redis.call('HINCRBY', KEYS[6], 'pushed', removed) end
if current and up_to > current.remote then redis.call('HSET', doc, 'remote', integer(up_to)) end
if removed > 0 or (current and up_to > current.remote) then
  record(history, tonumber(ARGV[3]), 'push', up_to, '1', '')
end
local reply = 'OK ' .. integer(removed)
if slot ~= '' then remember(repeats, at, slot, ARGV[5], reply) end
return reply
