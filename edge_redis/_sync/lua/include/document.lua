-- A scope's document: its stamp, its clock, and which of two states comes first.

-- The last version, with room above it for every further one: past 2^53 a double no longer counts by ones.
local MAX_VERSION = 9007199254740000

local function integer(number)
  return string.format('%.0f', number)
end

-- Bytewise: Lua's own `<` follows the server's locale.
local function precedes(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- The same of two clocks, which are digits of one length: every locale has those in their order.
local function earlier(a, b)
  return a < b
end

-- The hybrid logical clock: 12 digits of seconds and 6 of microseconds, by the server's time,
-- and one microsecond past the newest seen where that is not behind it.
local function tick(seen, time)
  time = time or redis.call('TIME')
  local now = string.format('%012.0f%06.0f', tonumber(time[1]), tonumber(time[2]))
  if earlier(seen, now) then return now end
  local seconds, micros = tonumber(string.sub(seen, 1, 12)), tonumber(string.sub(seen, 13))
  if not seconds or not micros then return now end -- a damaged one
  micros = micros + 1
  if micros == 1000000 then seconds, micros = seconds + 1, 0 end
  return string.format('%012.0f%06.0f', seconds, micros)
end

-- What tells one state of a scope from every other.
local function stamp(clock, checksum)
  return clock .. '-' .. string.sub(checksum, 1, 16)
end

-- The document without its data, which may be large and is seldom needed; nil where there is none.
local function read_document(key)
  local found = redis.call('HMGET', key, 'version', 'remote', 'clock', 'tick', 'origin', 'checksum', 'base', 'merged',
    'signature')
  if not found[1] then return nil end
  return {
    version = tonumber(found[1]), remote = tonumber(found[2]), clock = found[3], tick = found[4],
    origin = found[5], checksum = found[6], base = found[7], merged = found[8] == '1', stamp = stamp(found[3], found[6]),
    signature = found[9] or nil, was_signed = found[9] and true,
  }
end

-- The newest version of an origin that this end has had, as one text.
local function seen_text(version, state)
  return integer(version) .. ':' .. string.sub(state.checksum, 1, 16) .. ':' .. state.clock
end

-- Write the document; `seen` says that its origin has come to this very version, `was_signed` of the state that the
-- one before it has a signature.
local function write_document(key, state, seen)
  local words = {'HSET', key, 'version', integer(state.version), 'remote', integer(state.remote), 'clock', state.clock,
    'tick', state.tick, 'origin', state.origin, 'checksum', state.checksum, 'base', state.base}
  if state.data then
    words[#words + 1], words[#words + 2] = 'data', state.data
    local merged = string.byte(state.data, 1) == 146 -- an array of two, where all other bodies are maps (merge.py)
    if merged ~= (state.merged or false) then words[#words + 1], words[#words + 2] = 'merged', merged and '1' or '0' end
  end
  if state.signature then words[#words + 1], words[#words + 2] = 'signature', state.signature end
  if seen then words[#words + 1], words[#words + 2] = 'seen:' .. state.origin, seen_text(state.version, state) end
  redis.call(unpack(words))
  if state.was_signed and not state.signature then redis.call('HDEL', key, 'signature') end -- which was another's
end

-- Put a scope at the end of the feed, where it stands once, at its latest change.
local function announce(changes, sequence, scope)
  redis.call('ZADD', changes, integer(redis.call('INCR', sequence)), scope)
end
