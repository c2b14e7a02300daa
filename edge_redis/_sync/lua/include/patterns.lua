-- Patterns of scopes, as in patterns.py: `*` stands for any text, `?` for one character, all else for itself.

-- One character in UTF-8: its first byte and those that continue it.
local ONE_CHARACTER = '[^\128-\191][\128-\191]*'

-- A part of a pattern between two `*`, as a Lua pattern where it has a `?`.
local function compile_part(text)
  if not string.find(text, '?', 1, true) then return {text = text, is_plain = true} end
  local escaped = string.gsub(string.gsub(text, '[%^%$%(%)%%%.%[%]%*%+%-]', '%%%0'), '%z', '%%z')
  return {text = (string.gsub(escaped, '%?', ONE_CHARACTER))}
end

-- A pattern as the parts that must follow each other: the first one at the beginning, the last one at the end.
local function compile_pattern(pattern)
  local parts = {}
  for text in string.gmatch(pattern .. '*', '([^*]*)%*') do parts[#parts + 1] = compile_part(text) end
  return parts
end

local function ends_with(scope, part, from)
  if not part.is_plain then return string.find(scope, part.text .. '$', from) ~= nil end
  local at = #scope - #part.text + 1
  return at >= from and string.sub(scope, at) == part.text
end

-- Each part is taken where it is first found: what follows has the most left, so no other choice need be tried.
local function has_parts(scope, parts)
  local first, last = parts[1], #parts
  if last == 1 then
    if first.is_plain then return scope == first.text end
    return string.find(scope, '^' .. first.text .. '$') ~= nil
  end
  local from
  if first.is_plain then
    if string.sub(scope, 1, #first.text) ~= first.text then return false end
    from = #first.text + 1
  else
    local _, stop = string.find(scope, '^' .. first.text)
    if not stop then return false end
    from = stop + 1
  end
  for i = 2, last - 1 do
    local _, stop = string.find(scope, parts[i].text, from, parts[i].is_plain)
    if not stop then return false end
    from = stop + 1
  end
  return ends_with(scope, parts[last], from)
end

local function matches_any(scope, patterns)
  for _, parts in ipairs(patterns) do
    if has_parts(scope, parts) then return true end
  end
  return false
end
