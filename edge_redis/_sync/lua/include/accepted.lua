-- The stream of accepted changes, for programs that are not edges: `<tag>:accepted`, an entry for each state that the cloud
-- has accepted (docs/reference/sync-formats.md). It is kept where `<tag>:accepted_keep` says how long.
-- Needs: integer

-- How long changes are kept, from its text: the most entries, milliseconds (0: any age), and the most bytes of a body; nil
-- where the text is damaged.
local function read_retention(text)
  local entries, age_ms, body_bytes = string.match(text, '^(%d+) (%d+) (%d+)$')
  if not entries then return nil end
  return {entries = entries, age_ms = tonumber(age_ms), body_bytes = tonumber(body_bytes)}
end

-- The number of the next entry. Where the last one was damaged, numbers begin again.
local function next_number(tag)
  local number = redis.pcall('INCR', tag .. ':accepted_number')
  if type(number) == 'number' then return integer(number) end
  redis.call('SET', tag .. ':accepted_number', 1)
  return '1'
end

-- Append states to the stream.
local function keep_accepted(tag, scope, keep, states)
  local stream = tag .. ':accepted'
  for _, state in ipairs(states) do
    local words = {'XADD', stream, 'MAXLEN', '~', keep.entries, '*',
      'number', next_number(tag), 'scope', scope, 'version', integer(state.version),
      'clock', state.clock, 'origin', state.origin, 'checksum', state.checksum}
    local is_whole = #state.data <= keep.body_bytes
    words[#words + 1], words[#words + 2] = is_whole and 'data' or 'size', is_whole and state.data or integer(#state.data)
    if state.signature then words[#words + 1], words[#words + 2] = 'signature', state.signature end
    redis.call(unpack(words))
  end
  if keep.age_ms > 0 then
    local time = redis.call('TIME')
    redis.call('XTRIM', stream, 'MINID', '~', integer(time[1] * 1000 + math.floor(time[2] / 1000) - keep.age_ms))
  end
end
