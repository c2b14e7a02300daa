-- Splices: a body as its difference from another body, as in splice.py.
--
--   splice   <runs>:<replacements>
--   runs     offset length size of each run, all separated by spaces: `length` bytes of the base, `offset` bytes after the
--            run before it, are replaced by `size` bytes of the replacements

local MIN_BODY_BYTES, MAX_RUNS, ANCHOR_BYTES = 512, 128, 24
-- See splice.py.
local SURE_BYTES, NEAR_BYTES, MAX_STEP, WINDOW_BYTES = 256, 256, 65536, 4096
local MIN_SEARCH_BYTES, MAX_SEARCHED_BYTES = 1024, 524288

-- The numbers of a splice and the position of its colon; nil where they are damaged.
local function read_runs(splice)
  local colon = string.find(splice, ':', 1, true)
  if not colon or (colon > 1 and not string.find(splice, '^%d[%d ]*:')) then return nil end
  local numbers = {}
  for word in string.gmatch(string.sub(splice, 1, colon - 1), '%d+') do
    if #word > 9 or #numbers == 3 * MAX_RUNS then return nil end
    numbers[#numbers + 1] = tonumber(word)
  end
  if #numbers % 3 ~= 0 then return nil end
  return numbers, colon
end

-- The result of a splice; nil where it is damaged, or was made of another base. The caller compares the checksums.
local function apply_splice(base, splice)
  local numbers, colon = read_runs(splice)
  if not numbers then return nil end
  local parts, position, taken = {}, 0, colon
  for i = 1, #numbers, 3 do
    local start, size = position + numbers[i], numbers[i + 2]
    if start + numbers[i + 1] > #base or taken + size > #splice then return nil end
    parts[#parts + 1] = string.sub(base, position + 1, start)
    parts[#parts + 1] = string.sub(splice, taken + 1, taken + size)
    position, taken = start + numbers[i + 1], taken + size
  end
  if taken ~= #splice then return nil end
  parts[#parts + 1] = string.sub(base, position + 1)
  return table.concat(parts)
end

-- How many bytes, `most` at most, are the same after the two positions: by doubling, then by halving.
local function common_after(base, at, result, result_at, most)
  local known, high, size = 0, most, ANCHOR_BYTES
  while known < high do
    local length = size > 0 and math.min(known + size, high) or math.floor((known + high + 1) / 2)
    if string.sub(base, at + known + 1, at + length) == string.sub(result, result_at + known + 1, result_at + length) then
      known, size = length, 2 * size
    else
      high, size = length - 1, 0
    end
  end
  return known
end

-- The same before the two positions.
local function common_before(base, at, result, result_at, most)
  local known, high, size = 0, most, ANCHOR_BYTES
  while known < high do
    local length = size > 0 and math.min(known + size, high) or math.floor((known + high + 1) / 2)
    if string.sub(base, at - length + 1, at - known) == string.sub(result, result_at - length + 1, result_at - known) then
      known, size = length, 2 * size
    else
      high, size = length - 1, 0
    end
  end
  return known
end

-- The next part that both have in common (start and end in the base, start and end in the result), nil where none is
-- found, and how many bytes were searched.
local function find_common(base, result, rest)
  local best, gained, searched, step = nil, -#result, 0, 0
  while step <= MAX_STEP and rest[1] + step + ANCHOR_BYTES <= rest[2] do
    if best and (gained >= SURE_BYTES or step > math.max(NEAR_BYTES, 2 * (best[2] - rest[1]))) then break end
    local at, limit = rest[1] + step, math.min(rest[4], rest[3] + 2 * step + WINDOW_BYTES)
    local place = string.find(string.sub(result, rest[3] + 1, limit), string.sub(base, at + 1, at + ANCHOR_BYTES), 1, true)
    place = place and rest[3] + place - 1
    searched = searched + math.max(MIN_SEARCH_BYTES, (place or limit) - rest[3])
    if place then
      local behind = common_before(base, at, result, place, math.min(step, place - rest[3]))
      local ahead = common_after(base, at, result, place, math.min(rest[2] - at, rest[4] - place))
      local gain = 2 * behind + ahead - (place - rest[3])
      if gain > gained then
        best, gained = {at - behind, at + ahead, place - behind, place + ahead}, gain
      end
    end
    step = step == 0 and 16 or 2 * step
  end
  return best, searched
end

-- The parts that differ, in order: start and end in the base, start and end in the result. Each ends where a block of the
-- base is found again in the result.
local function find_runs(base, result)
  local most = math.min(#base, #result)
  local ahead = common_after(base, 0, result, 0, most)
  local behind = common_before(base, #base, result, #result, most - ahead)
  local rest, runs, searched = {ahead, #base - behind, ahead, #result - behind}, {}, 0
  while rest[1] < rest[2] or rest[3] < rest[4] do
    local common, count
    if #runs < MAX_RUNS - 1 and searched < MAX_SEARCHED_BYTES then
      common, count = find_common(base, result, rest)
      searched = searched + count
    end
    if not common then
      runs[#runs + 1] = rest
      break
    end
    runs[#runs + 1] = {rest[1], common[1], rest[3], common[3]}
    rest = {common[2], rest[2], common[4], rest[4]}
  end
  return runs
end

-- The splice that makes the result of the base, nil where it would have more than half the result's bytes.
local function make_splice(base, result)
  if #result < MIN_BODY_BYTES or #base == 0 then return nil end
  local numbers, replacements, last, size = {}, {}, 0, 0
  for _, run in ipairs(find_runs(base, result)) do
    numbers[#numbers + 1] = string.format('%d %d %d', run[1] - last, run[2] - run[1], run[4] - run[3])
    replacements[#replacements + 1] = string.sub(result, run[3] + 1, run[4])
    last, size = run[2], size + run[4] - run[3]
  end
  if 2 * size > #result then return nil end
  return table.concat(numbers, ' ') .. ':' .. table.concat(replacements)
end
