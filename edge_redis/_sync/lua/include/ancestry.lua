-- What this end knows of a state's origin: the states of it that it has had, and whether two states descend from
-- each other.
-- Needs: earlier, is_clock

-- The newest state of an origin that this end has had, and the clock since which the origin counts on from a backup: a
-- restored origin uses version numbers again, and its new states do not descend from those it wrote before.
local NEVER_RESTORED = '000000000000000000'
local function read_seen(doc, origin)
  local found = redis.call('HMGET', doc, 'seen:' .. origin, 'restored_at:' .. origin)
  if not found[1] then return nil end
  local version, checksum, clock = string.match(found[1], '^(%d+):(%x*):(%d+)$')
  if not version or not is_clock(clock) then return nil end -- damaged: as if nothing were known
  local restored_at = is_clock(found[2]) and found[2] or NEVER_RESTORED
  return {version = tonumber(version), checksum = checksum, clock = clock, restored_at = restored_at}
end

local function seen_of(state, restored_at)
  return {
    version = state.version, checksum = string.sub(state.checksum, 1, 16), clock = state.clock, restored_at = restored_at,
  }
end

local function is_the_seen(state, seen)
  return seen.checksum == string.sub(state.checksum, 1, 16)
    and (seen.version == state.version or seen.clock == state.clock)
end

-- Whether this end has had this state, or a later one of its origin that descends from it.
local function was_seen(state)
  local seen = state.seen
  if not seen then return false end
  if is_the_seen(state, seen) then return true end
  return state.version < seen.version and earlier(state.clock, seen.clock) and not earlier(state.clock, seen.restored_at)
end

-- The version and the clock of an origin rise together: a lower version at a later clock means that it was restored.
local function is_restored(state, strategy)
  local seen = state.seen
  if not seen or is_the_seen(state, seen) or not earlier(seen.clock, state.clock) then return false end
  return state.version < seen.version or (state.version == seen.version and strategy ~= 'latest_wins')
end

local function is_of_one_incarnation(state, current)
  if state.origin == '' or state.origin ~= current.origin or state.version == current.version then return false end
  if (state.version < current.version) ~= earlier(state.clock, current.clock) then return false end
  local restored_at = state.restored_at
  return restored_at == NEVER_RESTORED or earlier(state.clock, restored_at) == earlier(current.clock, restored_at)
end

-- The name and the store of an origin, without the run of the store's server.
local function lineage_of(origin)
  return string.match(origin, '^[^\2]*')
end

-- The clock of the moment when the incarnation in an origin began; as long ago as can be where it has none.
local function began_at(origin)
  local micros = string.match(origin, '-(%d+)\2?$') or ''
  return string.rep('0', 18 - #micros) .. micros
end

local STAMP_LENGTH = 35

-- The ancestor of a state that is made of a state of another origin: the stamp of that. If an earlier run of this store's
-- server wrote that, all its states up to a clock are ancestors, which is added; while changes wait that the other end
-- may not have had, it is the clock up to which an even earlier run wrote.
local function ancestor_of(current, origin, is_waiting)
  if lineage_of(current.origin) ~= lineage_of(origin) then return current.stamp end
  local earlier_run = is_waiting and string.match(current.ancestor, '%+(%d+)$')
  return current.stamp .. '+' .. (earlier_run or current.clock)
end

local function has_ancestor(state, other)
  if state.ancestor == '' then return false end
  if string.sub(state.ancestor, 1, STAMP_LENGTH) == other.stamp then return true end
  local clock = string.match(state.ancestor, '%+(%d+)$')
  return clock ~= nil and state.origin ~= other.origin and lineage_of(state.origin) == lineage_of(other.origin)
    and not earlier(clock, other.clock)
end

-- Whether one state descends from the other or equals it, so that the loser is not a conflict.
local function is_related(state, current)
  if is_of_one_incarnation(state, current) or state.stamp == current.stamp then return true end
  return has_ancestor(state, current) or has_ancestor(current, state)
end
