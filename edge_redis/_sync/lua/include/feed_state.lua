-- A state on its way down, as one text, as in downlink.py.
--
--   state    <length of head>:<head><kind><rest>
--   head     version clock checksum ancestor signature strategy origin, a space between each; ancestor, signature,
--            strategy and origin may be ''
--   kind     `=`: rest is the body. `~`: rest is <base><length of splice>:<splice>..., the splices that make the body of
--            that of another state, in their order, where base is the beginning of its checksum. `-`: the body is left out
--   damaged  `!` and the reason
--   none     '' where there is no document
-- Needs: read_chain, MIN_BODY_BYTES

local BASE_CHARS, MAX_INLINE_BYTES, MAX_HINT_BYTES = 16, 512, 512

local function head_of(found)
  local signature, strategy = found[6] or '', found[7] or ''
  for i = 1, 5 do
    if not found[i] then return nil, '!a field is missing' end
  end
  if string.find(found[1] .. found[2] .. found[3] .. found[4] .. signature .. strategy, ' ', 1, true) then
    return nil, '!a field has a space'
  end
  local head = table.concat({found[1], found[2], found[3], found[4], signature, strategy, found[5]}, ' ')
  return #head .. ':' .. head
end

-- The splices that lead from the state that the reader holds, by the beginning of its checksum, to the present one.
local function splices_from(doc, checksum, held, size)
  local splices, bytes = {}, 0
  for _, entry in ipairs(read_chain(redis.call('HGET', doc, 'splice'), checksum)) do
    table.insert(splices, 1, #entry.splice .. ':' .. entry.splice)
    bytes = bytes + #entry.splice
    if 2 * bytes > size then return nil end
    if string.sub(entry.base, 1, BASE_CHARS) == held then return table.concat(splices) end
  end
end

-- The newest splice, where it is small enough to be sent unasked.
local function newest_splice(doc, checksum)
  local entry = read_chain(redis.call('HGET', doc, 'splice'), checksum)[1]
  if not entry or #entry.splice > MAX_INLINE_BYTES then return '-' end
  return '~' .. string.sub(entry.base, 1, BASE_CHARS) .. #entry.splice .. ':' .. entry.splice
end

-- The state of a document and the bytes of its body. `held` is the beginning of the checksum that the reader holds, '' for
-- none, or nil where the reader has not said: then a body that is not small is left out. `own` are the ids of the stores
-- whose states the reader has sent itself, a comma between each.
local function read_feed_state(doc, held, own)
  local found = redis.pcall('HMGET', doc, 'version', 'clock', 'checksum', 'ancestor', 'origin', 'signature', 'strategy')
  if found.err then return '!a field is missing', 0 end -- a key of another type
  local size = redis.call('HSTRLEN', doc, 'data')
  if not found[1] and size == 0 and redis.call('HEXISTS', doc, 'data') == 0 then return '', 0 end
  local head, damage = head_of(found)
  if damage then return damage, 0 end
  if size < MIN_BODY_BYTES or held == '' then
    local body = redis.call('HGET', doc, 'data')
    return body and head .. '=' .. body or '!a field is missing', size
  end
  if not held then
    local id = ',' .. string.match(found[5], '[^\1]*$') .. ','
    return head .. (string.find(',' .. own .. ',', id, 1, true) and '-' or newest_splice(doc, found[3])), size
  end
  local splices = splices_from(doc, found[3], held, size)
  return head .. (splices and '~' .. held .. splices or '=' .. redis.call('HGET', doc, 'data')), size
end

-- Whether a document has the state that a reader was given: see read_feed.lua.
local function is_state(doc, given)
  local found = given and redis.pcall('HMGET', doc, 'version', 'clock', 'checksum', 'signature', 'origin')
  if not found or found.err or not (found[1] and found[2] and found[3] and found[5]) then return false end
  local checksum, signature = string.sub(found[3], 1, BASE_CHARS), string.sub(found[4] or '-', 1, BASE_CHARS)
  return given == table.concat({found[1], found[2], checksum, signature, found[5]}, ' ')
end

-- The state of a document for a hint, as above, where it is small: with its body, or as the newest splice; else nil.
local function state_for_hint(doc)
  local state = read_feed_state(doc, nil, '-')
  local length, from = string.match(state, '^(%d+):()')
  if not length or #state > MAX_HINT_BYTES or string.sub(state, from + length, from + length) == '-' then return nil end
  return state
end
