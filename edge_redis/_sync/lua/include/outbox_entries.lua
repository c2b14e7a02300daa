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
