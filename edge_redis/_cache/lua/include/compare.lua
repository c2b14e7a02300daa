-- Comparison of a stored value with a canonical encoding (msgpack, maps in the order of their encoded keys).
-- Needs: COMPUTED, HEADER, value_of
local function number_at(text, at, bytes)
  local number = 0
  for place = at, at + bytes - 1 do number = number * 256 + string.byte(text, place) end
  return number
end

-- Returns the function canonical_at. Defined only where it is used, since every definition takes time in every call.
local function define_canonical_at()
  -- Bytes before the payload of a msgpack type: its first byte -> bytes of its length, or bytes that follow it.
  local LENGTH_BYTES = {
    [0xc4] = 1, [0xc5] = 2, [0xc6] = 4, [0xd9] = 1, [0xda] = 2, [0xdb] = 4, [0xc7] = 1, [0xc8] = 2, [0xc9] = 4,
    [0xdc] = 2, [0xdd] = 4, [0xde] = 2, [0xdf] = 4,
  }
  local FIXED_BYTES = {
    [0xc0] = 0, [0xc2] = 0, [0xc3] = 0, [0xca] = 4, [0xcb] = 8, [0xcc] = 1, [0xcd] = 2, [0xce] = 4, [0xcf] = 8,
    [0xd0] = 1, [0xd1] = 2, [0xd2] = 4, [0xd3] = 8, [0xd4] = 2, [0xd5] = 3, [0xd6] = 5, [0xd7] = 9, [0xd8] = 17,
  }
  local TUPLE = 1

  -- Compares bytes: the order of strings in Lua is that of the server's locale.
  local function has_lower_key(one, other)
    for place = 1, math.min(#one.key, #other.key) do
      local here, there = string.byte(one.key, place), string.byte(other.key, place)
      if here ~= there then return here < there end
    end
    return #one.key < #other.key
  end

  local canonical_at

  -- The canonical encoding of `items` values from `at` on, each a run of `width` values, and the place after them.
  local function canonical_items(text, at, items, width)
    local parts = {}
    for item = 1, items do
      local run = {}
      for value = 1, width do
        run[value], at = canonical_at(text, at)
      end
      parts[item] = {key = run[1], bytes = table.concat(run)}
    end
    if width == 2 then table.sort(parts, has_lower_key) end
    for item = 1, items do parts[item] = parts[item].bytes end
    return table.concat(parts), at
  end

  -- The canonical encoding of the value at `at`, and the place after it.
  canonical_at = function(text, at)
    local kind = string.byte(text, at)
    if kind < 0x80 or kind >= 0xe0 then return string.sub(text, at, at), at + 1 end
    if kind < 0xa0 then
      local is_map = kind < 0x90
      local body, after = canonical_items(text, at + 1, kind % 16, is_map and 2 or 1)
      return string.sub(text, at, at) .. body, after
    end
    if kind < 0xc0 then return string.sub(text, at, at + kind - 0xa0), at + kind - 0xa0 + 1 end
    if FIXED_BYTES[kind] then
      local after = at + 1 + FIXED_BYTES[kind]
      if kind >= 0xd4 and string.byte(text, at + 1) == TUPLE then
        return string.sub(text, at, at + 1) .. (canonical_at(text, at + 2)), after
      end
      return string.sub(text, at, after - 1), after
    end
    local first = at + 1 + LENGTH_BYTES[kind]
    local length = number_at(text, at + 1, LENGTH_BYTES[kind])
    if kind >= 0xdc then
      local body, after = canonical_items(text, first, length, kind >= 0xde and 2 or 1)
      return string.sub(text, at, first - 1) .. body, after
    end
    if kind >= 0xc7 and kind <= 0xc9 then
      if string.byte(text, first) == TUPLE then
        return string.sub(text, at, first) .. (canonical_at(text, first + 1)), first + 1 + length
      end
      length = length + 1
    end
    return string.sub(text, at, first + length - 1), first + length
  end

  return canonical_at
end

-- The encoded value of an entry, without what precedes it; nil where there is none.
local function body_of(key)
  local value = redis.call('GET', value_of(key))
  if not value or #value <= HEADER then return nil end
  return string.sub(value, HEADER + 1 + (string.byte(value, HEADER + 1) == 193 and COMPUTED or 0)), value
end

-- Whether an entry has a value whose canonical encoding this is. Sorting a map does not change its length.
local function has_equal_value(key, canonical)
  local body = body_of(key)
  if not body or #body ~= #canonical then return false end
  if body == canonical then return true end
  local is_valid, found = pcall(define_canonical_at(), body, 1)
  return is_valid and found == canonical
end
