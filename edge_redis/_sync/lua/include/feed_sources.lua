-- Scopes that were moved to this feed from those of other shards, where each had another number (resharding of the cloud).
--
--   sources  hash: the id of the other shard -> <highest><ranges>
--   highest  the highest number that it gave a reader; `-` and which of the old shards it is, before it was moved; `lost`
--            where it had lost its data before
--   ranges   a space before each: <from>:<to>:<base>. A scope with the number n there, from < n <= to, had the number
--            base + n - from here when it came

-- The position in this feed, nil where it is not named, and those in other feeds, nil where there is none.
local function split_position(ids, numbers, id)
  if ids == id then return tonumber(numbers) end
  if ids == '-' then return nil end
  local number, others = nil, {}
  local next_number = string.gmatch(numbers, '[^,]+')
  for each in string.gmatch(ids, '[^,]+') do
    local at = tonumber(next_number())
    if each == id then number = at else others[each] = at end
  end
  return number, others
end

-- What a reader has had of this feed by its positions in others, as pairs of numbers: more than the first, up to the
-- second; whether all of these feeds are sources of this one; whether one was older than a position, or `is_older`; and
-- whether one had lost its data.
local function find_skipped(sources, others, is_older)
  local skipped, are_sources, is_lost = {}, true, false
  for id, number in pairs(others) do
    local text = redis.call('HGET', sources, id)
    if text == 'lost' then
      is_lost = true
    elseif not text then
      are_sources = false
    else
      local highest = tonumber(string.match(text, '^%d+') or nil)
      is_older = is_older or (highest and number > highest)
      for from, to, base in string.gmatch(text, ' (%d+):(%d+):(%d+)') do
        from, to, base = tonumber(from), tonumber(to), tonumber(base)
        if number > from then skipped[#skipped + 1] = {base, base + math.min(number, to) - from} end
      end
    end
  end
  return skipped, are_sources, is_older, is_lost
end

local function is_skipped(skipped, number)
  for _, range in ipairs(skipped) do
    if number > range[1] and number <= range[2] then return true end
  end
  return false
end

-- The last number that is to be skipped from this one on.
local function pass_skipped(skipped, number)
  local before
  repeat
    before = number
    for _, range in ipairs(skipped) do
      if number >= range[1] and number < range[2] then number = range[2] end
    end
  until number == before
  return number
end
