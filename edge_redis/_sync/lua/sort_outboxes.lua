-- Sort some of the outboxes by the patterns that are registered: those of scopes that no worker pushes leave the index of
-- work, and keep their newest state alone; the others enter it, the urgent ones before all others.
-- KEYS[1] pending_bytes  hash    a field for each scope with an outbox, `<tag>:pending_bytes`; all other keys have its tag:
--                                patterns, work; pending, bodies and doc of each scope (see keys.py)
-- ARGV[1] cursor         of HSCAN, 0 at first
-- ARGV[2] count          integer, about so many scopes are looked at
-- Reply: [string, number]: the next cursor, 0 after the last, and 1 where this one has outboxes that are still to be trimmed
-- Invariant: the newest state of every scope stays in its outbox
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent
-- include: clock
-- include: document
-- include: splice
-- include: splice_chain
-- include: outbox_bodies
-- include: outbox_append
-- include: outbox_entries
-- include: patterns
-- include: carried
-- include: hint_tag
-- include: edge_hint
-- include: work_score
-- include: outbox
local MAX_TRIMMED = 100 -- outboxes of one call
local tag = string.match(KEYS[1], '^[^}]*}')
local work, trimmed, again, at = tag .. ':work', 0, false, now_ms()
local carried = read_carried(tag .. ':patterns')
redis.call('ZREM', work, '') -- a first write that needs no memory, see lease_entries.lua

-- Remove all entries but the newest, or the oldest ones of very many; return whether the newest is alone.
local function trim(pending, waiting)
  local newest = redis.call('XREVRANGE', pending, '+', '-', 'COUNT', 1)[1]
  local left = read_entry(newest)
  if waiting > MAX_DROPPED then
    local oldest = redis.call('XRANGE', pending, '-', '+', 'COUNT', 1)[1]
    left = entry_from(pending, integer(tonumber(string.match(oldest[1], '^%d+')) + MAX_DROPPED))
  end
  local removal, _, last = plan_removal(pending, left), read_positions(pending)
  remove_before(pending, removal)
  write_positions(pending, removal.first, last)
  return left.id == newest[1]
end

local function sort(scope)
  local pending = tag .. ':pending:' .. scope
  local waiting = redis.call('XLEN', pending)
  if waiting == 0 then return end
  if stays_here(carried, scope) then
    if waiting > 1 then
      trimmed = trimmed + 1
      if trimmed > MAX_TRIMMED or not trim(pending, waiting) then
        again = true
        return
      end
    end
    redis.call('ZREM', work, scope)
    return
  end
  local score = tonumber(redis.call('ZSCORE', work, scope) or nil)
  local is_urgent = is_any_for(carried.urgent, scope)
  if not score then
    local oldest = entry_from(pending, '0')
    add_to_work_index(work, scope, waiting_since(oldest.clock or '', at), is_urgent)
  elseif is_urgent ~= (score < 0) then
    redis.call('ZADD', work, integer(is_urgent and score - URGENT_MS or score + URGENT_MS), scope)
  end
end

local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
for i = 1, #page[2], 2 do sort(page[2][i]) end
return {page[1], again and '1' or '0'}
