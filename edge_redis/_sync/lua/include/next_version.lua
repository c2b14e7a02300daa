-- The version that a write of a scope gets, or why it gets none.
-- Needs: MAX_VERSION, earlier, integer, is_clock, read_document

-- What the writer gets to make its write of the present state.
local function present_state(doc, current, version, latest)
  if not current then return {'-', '', integer(version), latest, ''} end
  return {current.stamp, redis.call('HGET', doc, 'data') or '', integer(version), latest, current.origin}
end

-- Return the reply that refuses the write, or nil, the next version, the latest clock seen and the present document.
-- `expected`, `clock`, `signature` and `if_version` are those of the call, as the script's header has them.
local function next_version(doc, tag, expected, clock, signature, if_version)
  local current, damage = read_document(doc)
  if damage then return damage end
  if if_version ~= '-' then
    local present = integer(current and current.version or 0)
    if if_version == '0' and current and current.merged then
      expected = '' -- merged fields may be a delete, which only the caller can read
    elseif if_version ~= present and not (if_version == '0' and redis.call('HSTRLEN', doc, 'data') == 0) then
      return 'VERSION ' .. if_version .. ' ' .. present
    end
  end
  if expected == '*' and current and current.merged then expected = '' end -- its fields are never replaced unread
  local version, latest
  if current then
    version, latest = current.version, current.latest_clock
  else -- above what was purged
    local purged = redis.call('HMGET', tag .. ':gc_watermark', 'version', 'clock')
    version, latest = tonumber(purged[1] or 0) or 0, is_clock(purged[2]) and purged[2] or ''
  end
  local is_stale = expected ~= '*' and expected ~= (current and current.stamp or '-')
  if signature ~= '-' and not is_stale then
    is_stale = string.match(signature, '^%d+') ~= integer(version + 1) or not earlier(latest, clock)
  end
  if is_stale then return present_state(doc, current, version, latest) end
  if version >= MAX_VERSION then return 'LAST' end
  return nil, version + 1, latest, current
end
