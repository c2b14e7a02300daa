-- The format of a change on the wire and in the outbox, as in wire.py.
--
--   change   <length of head>:<head><data>
--   spliced  ~<length of head>:<head><base><splice>, where base is the checksum of the state that the splice was made
--            of, or `-` for the change before in the same call (splice.lua)
--   head     version clock checksum ancestor signature origin, a space between each; ancestor, signature and origin may be ''
--   leased   a change whose head begins with: id deliveries is_delta; or `~` and the same with a splice in place of data
--   outbox   a stream entry `<version>-0` of the fields data, position, checksum, clock, origin, ancestor, is_delta, and
--            signature where the change is signed; or with splice, base, size and chain in place of data
-- Needs: stamp

local HEAD = '^(%d+) (%S*) (%S*) (%S*) (%S*) (.*)$'

-- The change of a head and its data.
local function parse_head(head, data)
  local version, clock, checksum, ancestor, signature, origin = string.match(head, HEAD)
  return {
    version = tonumber(version), clock = clock, checksum = checksum, ancestor = ancestor, origin = origin, data = data,
    stamp = stamp(clock, checksum), signature = signature ~= '' and signature or nil,
  }
end

local PREVIOUS, CHECKSUM_BYTES = '-', 64

-- A change; a spliced one has base and splice, and no data yet.
local function parse_change(text)
  local mark, length, from = string.match(text, '^(~?)(%d+):()')
  local after = from + length
  local state = parse_head(string.sub(text, from, after - 1), string.sub(text, after))
  if mark == '' then return state end
  local base_bytes = string.sub(state.data, 1, 1) == PREVIOUS and 1 or CHECKSUM_BYTES
  state.base, state.splice = string.sub(state.data, 1, base_bytes), string.sub(state.data, base_bytes + 1)
  state.data = nil
  return state
end
