-- The entries of an outbox and their bodies.
--
-- Each entry has a body, or a splice against the entry before it. The oldest always has a body: where it was written as a
-- splice, that is in the hash `bodies`, made before the entries that it was made of were removed. The newest body is the
-- document's, if no state of the other end has replaced that.
-- Needs: apply_splices, integer

local MAX_CHAIN_ENTRIES = 128 -- splices between two bodies, so that a body is made of them in a few milliseconds

-- The keys beside an outbox: the document, the bodies, and the bytes of all outboxes.
local function keys_beside(pending)
  local tag, scope = string.match(pending, '^([^}]*}):pending:(.*)$')
  return tag .. ':doc:' .. scope, tag .. ':bodies:' .. scope, tag .. ':pending_bytes', scope
end

local function read_entry(found)
  if not found then return nil end
  local entry = {id = found[1], version = string.match(found[1], '^%d+')}
  for i = 1, #found[2], 2 do entry[found[2][i]] = found[2][i + 1] end
  return entry
end

-- The body of an entry; nil where a splice that it is made of is damaged or gone.
local function body_of(pending, entry)
  if not entry.splice then return entry.data end
  local doc, bodies = keys_beside(pending)
  if redis.call('HGET', doc, 'checksum') == entry.checksum then return redis.call('HGET', doc, 'data') end
  local body = redis.call('HGET', bodies, entry.version)
  if body then return body end
  local splices, base = {entry.splice}, entry.base
  local count = math.min(tonumber(string.match(entry.chain or '', '^%d+')) or 0, MAX_CHAIN_ENTRIES)
  local before = integer(tonumber(entry.version) - 1) .. '-0'
  for _, found in ipairs(redis.call('XREVRANGE', pending, before, '-', 'COUNT', count)) do
    local earlier_entry = read_entry(found)
    if earlier_entry.checksum ~= base then return nil end
    body = not earlier_entry.splice and earlier_entry.data or redis.call('HGET', bodies, earlier_entry.version)
    if body then return apply_splices(body, splices) end
    if not earlier_entry.splice then return nil end
    table.insert(splices, 1, earlier_entry.splice)
    base = earlier_entry.base
  end
  return nil
end
