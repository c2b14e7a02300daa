-- How the newest states of a document in the cloud came of the states before them, so that an edge that has one of
-- those receives what differs. Kept in the field `splice` of the document:
--
--   chain    <checksum of the result><entry>..., newest first; the result of each further entry is the base before it
--   entry    <checksum of the base><length of splice>:<splice>
--
-- It is used only where its result is the present state: processes that know nothing of it may have written meanwhile.
-- Readers compare what they make of it with the checksum, and read the body where it differs.
-- Needs: make_splice, MIN_BODY_BYTES

-- Larger bodies are not compared here, and older entries are kept only within these bytes and half of the body's.
local MAX_COMPARED_BYTES, MAX_CHAIN_BYTES, MAX_CHAIN = 256 * 1024, 8192, 16
local HASH_BYTES = 64

-- The entries of a chain, newest first; empty where it does not end in this state.
local function read_chain(chain, checksum)
  local entries, at = {}, HASH_BYTES + 1
  if not chain or #checksum ~= HASH_BYTES or string.sub(chain, 1, HASH_BYTES) ~= checksum then return entries end
  while at <= #chain do
    local length, from = string.match(chain, '^(%d+):()', at + HASH_BYTES)
    length = tonumber(length)
    if not length or from + length - 1 > #chain then return entries end
    entries[#entries + 1] = {
      base = string.sub(chain, at, at + HASH_BYTES - 1), splice = string.sub(chain, from, from + length - 1),
    }
    at = from + length
  end
  return entries
end

-- The splice of a new state against the document, nil where there is none that is worth its bytes.
local function splice_against(doc, before, state)
  if state.splice and state.base == before.checksum then return state.splice end
  if #state.data > MAX_COMPARED_BYTES then return nil end
  local length = redis.call('HSTRLEN', doc, 'data')
  if length == 0 or length > MAX_COMPARED_BYTES then return nil end
  return make_splice(redis.call('HGET', doc, 'data'), state.data)
end

-- Write how the state comes of the document, which has the state before it still; `before` is nil where there is none.
-- Nothing is removed here: a full server refuses no command of a script after one that it has accepted.
local function keep_splice(doc, before, state)
  if not before or not state.data or before.checksum == state.checksum then return end
  local splice
  if #state.data >= MIN_BODY_BYTES and #before.checksum == HASH_BYTES and #state.checksum == HASH_BYTES then
    splice = splice_against(doc, before, state)
  end
  if not splice or 2 * #splice > #state.data then
    state.ends_splices = true -- removed by write_document
    return
  end
  local parts = {state.checksum, before.checksum, #splice, ':', splice}
  local bytes, most = HASH_BYTES + #splice, math.min(MAX_CHAIN_BYTES, #state.data / 2)
  for i, entry in ipairs(read_chain(redis.call('HGET', doc, 'splice'), before.checksum)) do
    bytes = bytes + HASH_BYTES + #entry.splice
    if bytes > most or i == MAX_CHAIN then break end
    parts[#parts + 1] = entry.base .. #entry.splice .. ':' .. entry.splice
  end
  redis.call('HSET', doc, 'splice', table.concat(parts))
end
