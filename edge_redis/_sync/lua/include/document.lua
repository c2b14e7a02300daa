-- A scope's document: its fields, its stamp and its clock.

-- MAX_VERSION of limits.py: above 2^53 a double cannot hold every integer.
local MAX_VERSION = 9007199254740000

-- '%d' takes a third of what '%.0f' takes, but a C long may have 32 bits.
local function integer(number)
  return string.format(number < 2147483648 and number > -2147483648 and '%d' or '%.0f', number)
end

-- Of clocks, which are digits of one length, and in order in every locale.
local function earlier(a, b)
  return a < b
end

-- The next hybrid logical clock: 12 digits of seconds and 6 of microseconds, by the server's time,
-- or one microsecond past the latest one seen, if that is not earlier.
local function next_clock(latest, time)
  time = time or redis.call('TIME')
  local now = string.format('%012d%06d', time[1], time[2])
  if earlier(latest, now) then return now end
  local seconds, micros = tonumber(string.sub(latest, 1, 12)), tonumber(string.sub(latest, 13))
  if not seconds or not micros then return now end -- a damaged clock
  micros = micros + 1
  if micros == 1000000 then seconds, micros = seconds + 1, 0 end
  return string.format('%012d%06d', seconds, micros)
end

-- The identity of a state among all states of its scope.
local function stamp(clock, checksum)
  return clock .. '-' .. string.sub(checksum, 1, 16)
end

local function is_clock(text)
  return text and #text == 18 and not string.find(text, '%D')
end

local function is_version(text)
  return text and #text <= 16 and string.find(text, '^%d+$')
end

-- The document without its data, which may be large and is seldom needed; nil where there is none. For a damaged
-- document, nil and the error reply; the next write repairs a damaged clock or peer version.
local function read_document(key)
  local found = redis.call('HMGET', key, 'version', 'peer_version', 'clock', 'latest_clock', 'origin', 'checksum',
    'ancestor', 'merged', 'signature', 'deleted')
  if not found[1] and not found[3] and redis.call('EXISTS', key) == 0 then return nil end
  if not (is_version(found[1]) and found[3] and found[5] and found[6] and found[7]) then
    return nil, 'CORRUPT the document is damaged'
  end
  return {
    version = tonumber(found[1]), peer_version = is_version(found[2]) and tonumber(found[2]) or 0,
    clock = found[3], latest_clock = is_clock(found[4]) and found[4] or is_clock(found[3]) and found[3] or '',
    origin = found[5], checksum = found[6], ancestor = found[7], merged = found[8] == '1',
    stamp = stamp(found[3], found[6]), signature = found[9] or nil,
    deleted = found[10] or nil,
  }
end

-- The newest version of an origin that this end has had, as one text.
local function seen_text(version, state)
  return integer(version) .. ':' .. string.sub(state.checksum, 1, 16) .. ':' .. state.clock
end

-- Write the document; `before` has the signature and the `deleted` that are there now, nil where there is no document.
-- `is_newest_of_origin` says that this version is the newest of its origin, `state.ends_splices` that the splices of the
-- document are of no more use.
local function write_document(key, before, state, is_newest_of_origin)
  local words = {'HSET', key, 'version', integer(state.version), 'peer_version', integer(state.peer_version),
    'clock', state.clock, 'latest_clock', state.latest_clock, 'origin', state.origin, 'checksum', state.checksum,
    'ancestor', state.ancestor}
  if state.data then
    words[#words + 1], words[#words + 2] = 'data', state.data
    local merged = string.byte(state.data, 1) == 146 -- an array of two, where all other bodies are maps (fields.py)
    if merged ~= (state.merged or false) then words[#words + 1], words[#words + 2] = 'merged', merged and '1' or '0' end
  end
  if state.signature then words[#words + 1], words[#words + 2] = 'signature', state.signature end
  if state.data and state.deleted then words[#words + 1], words[#words + 2] = 'deleted', state.deleted end
  if is_newest_of_origin then
    words[#words + 1], words[#words + 2] = 'seen:' .. state.origin, seen_text(state.version, state)
  end
  redis.call(unpack(words))
  if before and before.signature and not state.signature then redis.call('HDEL', key, 'signature') end
  if before and before.deleted and not state.deleted then redis.call('HDEL', key, 'deleted') end
  if state.ends_splices then redis.call('HDEL', key, 'splice') end
end
