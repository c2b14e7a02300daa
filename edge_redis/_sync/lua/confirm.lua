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
-- include: idempotency
-- include: document
-- include: splice
-- include: splice_chain
-- include: outbox_bodies
-- include: outbox_append
-- include: outbox_entries
-- include: hint_tag
-- include: edge_hint
-- include: work_score
-- include: outbox
-- include: history
-- include: totals
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
