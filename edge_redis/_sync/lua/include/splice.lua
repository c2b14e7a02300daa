-- Splices: a body as its difference from another body, as in splice.py.
--
--   splice   <runs>:<replacements>
--   runs     offset length size of each run, all separated by spaces: `length` bytes of the base, `offset` bytes after the
--            run before it, are replaced by `size` bytes of the replacements

local MIN_BODY_BYTES, MAX_RUNS, ANCHOR_BYTES = 512, 32, 24

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

-- How many bytes, `most` at most, are the same after the two positions; by halving, since Lua has no such function.
local function common_after(base, at, result, result_at, most)
  local known, high = 0, most
  while known < high do
    local length = math.floor((known + high + 1) / 2)
    if string.sub(base, at + known + 1, at + length) == string.sub(result, result_at + known + 1, result_at + length) then
      known = length
    else
      high = length - 1
    end
  end
  return known
end

-- The same before the two positions.
local function common_before(base, at, result, result_at, most)
  local known, high = 0, most
  while known < high do
    local length = math.floor((known + high + 1) / 2)
    if string.sub(base, at - length + 1, at - known) == string.sub(result, result_at - length + 1, result_at - known) then
      known = length
    else
      high = length - 1
    end
  end
  return known
end

-- Where the block after `at` of the base is in the result of the run, nil where it is not.
local function find_block(base, at, result, run)
  local block = string.sub(base, at + 1, at + ANCHOR_BYTES)
  for _, place in ipairs({run[3] + at - run[1], run[4] - (run[2] - at)}) do
    if run[3] <= place and place <= run[4] - ANCHOR_BYTES
      and string.sub(result, place + 1, place + ANCHOR_BYTES) == block then return place end
  end
  local found = string.find(result, block, run[3] + 1, true)
  return found and found - 1 <= run[4] - ANCHOR_BYTES and found - 1 or nil
end

-- What differs before and after a block that the base and the result of a run both have, nil where none is found.
local function split_run(base, result, run)
  local length, result_length = run[2] - run[1], run[4] - run[3]
  if math.min(length, result_length) < ANCHOR_BYTES then return nil end
  for _, quarter in ipairs({2, 1, 3}) do
    local at = run[1] + math.floor((length - ANCHOR_BYTES) * quarter / 4)
    local found = find_block(base, at, result, run)
    if found then
      local behind = common_before(base, at, result, found, math.min(at - run[1], found - run[3]))
      local ahead = common_after(base, at, result, found, math.min(run[2] - at, run[4] - found))
      return {run[1], at - behind, run[3], found - behind}, {at + ahead, run[2], found + ahead, run[4]}
    end
  end
end

local function is_run(run)
  return run[1] < run[2] or run[3] < run[4]
end

-- The parts that differ, in order: start and end in the base, start and end in the result.
local function find_runs(base, result)
  local most = math.min(#base, #result)
  local ahead = common_after(base, 0, result, 0, most)
  local behind = common_before(base, #base, result, #result, most - ahead)
  local done, waiting = {}, {{ahead, #base - behind, ahead, #result - behind}}
  while #waiting > 0 do
    local run = table.remove(waiting)
    local before, after
    if #done + #waiting + 2 <= MAX_RUNS then before, after = split_run(base, result, run) end
    if before then
      if is_run(after) then waiting[#waiting + 1] = after end
      if is_run(before) then waiting[#waiting + 1] = before end
    elseif is_run(run) then
      done[#done + 1] = run
    end
  end
  return done
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
