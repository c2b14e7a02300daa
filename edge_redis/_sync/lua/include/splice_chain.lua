-- Several splices applied at once: a body is made once, and not after each of them.
-- Needs: read_runs

-- The result of splices, each of which was made of the result of the one before; nil where one is damaged. A body is
-- parts meanwhile: each of a text, from its start, of its size.
local function apply_splices(base, splices)
  local texts, starts, sizes = {base}, {1}, {#base}
  local insert, remove = table.insert, table.remove
  local function put(at, text, start, size)
    insert(texts, at, text)
    insert(starts, at, start)
    insert(sizes, at, size)
  end
  -- Cut the part at `at` in two, where the cut is inside it; return the index of the second.
  local function cut(at, offset)
    if offset == 0 then return at end
    local size = sizes[at]
    if offset < size then
      put(at + 1, texts[at], starts[at] + offset, size - offset)
      sizes[at] = offset
    end
    return at + 1
  end
  for _, splice in ipairs(splices) do
    local numbers, taken = read_runs(splice)
    if not numbers then return nil end
    local at = 1
    for i = 1, #numbers, 3 do
      local offset, length, size = numbers[i], numbers[i + 1], numbers[i + 2]
      while sizes[at] and sizes[at] < offset do
        offset = offset - sizes[at]
        at = at + 1
      end
      if (offset > 0 and not sizes[at]) or taken + size > #splice then return nil end
      at = cut(at, offset)
      while sizes[at] and sizes[at] <= length do
        length = length - sizes[at]
        remove(texts, at)
        remove(starts, at)
        remove(sizes, at)
      end
      if length > 0 then
        if not sizes[at] then return nil end
        starts[at], sizes[at] = starts[at] + length, sizes[at] - length
      end
      if size > 0 then
        put(at, splice, taken + 1, size)
        at, taken = at + 1, taken + size
      end
    end
    if taken ~= #splice then return nil end
  end
  for i, text in ipairs(texts) do
    if sizes[i] ~= #text then texts[i] = string.sub(text, starts[i], starts[i] + sizes[i] - 1) end
  end
  return table.concat(texts)
end
