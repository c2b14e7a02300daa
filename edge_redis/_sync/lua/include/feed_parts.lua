-- Reading the scopes changed after a number: of the whole feed, or of those parts that patterns can match.
-- Needs: part_of, is_version, integer

local SCAN_PAGE, MIN_PART_PAGE = 1000, 10

-- The parts that have every scope that the patterns can match, and the scopes that they name in full and that are in no
-- part; nil where a pattern does not begin with literal text up to a slash or its end.
local function parts_of(tag, patterns)
  local parts, names, known = {}, {}, {}
  for _, pattern in ipairs(patterns) do
    local segment = string.match(pattern, '^[^/]*')
    if string.find(segment, '[*?]') then return nil end
    local part = part_of(tag, pattern)
    local list, value = part and parts or names, part or pattern
    if not known[value] then list[#list + 1] = value end
    known[value] = true
  end
  return parts, names
end

-- Put scopes into their parts that were written by processes that know no parts; whether every scope is in its part now.
local function complete_parts(tag, top)
  local feed_indexed = tag .. ':feed_indexed'
  local indexed = redis.call('MGET', feed_indexed)[1]
  indexed = is_version(indexed) and tonumber(indexed) or 0
  if indexed >= top then return true end
  redis.call('ZREM', tag .. ':feed', '') -- a first write that needs no memory: a cloud that is full can still be read
  local page = redis.call('ZRANGEBYSCORE', tag .. ':feed', '(' .. integer(indexed), '+inf', 'WITHSCORES', 'LIMIT', 0, SCAN_PAGE)
  for i = 1, #page, 2 do
    local part = part_of(tag, page[i])
    if part and type(redis.pcall('ZADD', part, page[i + 1], page[i])) == 'table' then return false end -- of another type
    indexed = tonumber(page[i + 1])
  end
  redis.call('SET', feed_indexed, integer(indexed))
  return indexed >= top
end

-- Return a function that reads the next scopes after a number: scopes, the number of each (nil where they are not
-- wanted: of the last alone, by `ZSCORE`), and whether there may be more.
local function whole_reader(feed, page_size, has_numbers)
  return function(number)
    local after = '(' .. integer(number)
    if not has_numbers then
      local page = redis.call('ZRANGEBYSCORE', feed, after, '+inf', 'LIMIT', 0, page_size)
      return page, nil, #page == page_size
    end
    local page = redis.call('ZRANGEBYSCORE', feed, after, '+inf', 'WITHSCORES', 'LIMIT', 0, page_size)
    local scopes, numbers = {}, {}
    for i = 1, #page, 2 do scopes[#scopes + 1], numbers[#numbers + 1] = page[i], tonumber(page[i + 1]) end
    return scopes, numbers, #scopes == page_size
  end
end

-- The same of some parts of the feed, and of scopes that are in no part, in the order of the feed.
local function parts_reader(feed, parts, names, limit)
  local size = math.max(MIN_PART_PAGE, math.floor(math.min(limit, SCAN_PAGE) / math.max(1, #parts)))
  return function(number)
    local found, bound = {}, nil
    for _, part in ipairs(parts) do
      local page = redis.call('ZRANGEBYSCORE', part, '(' .. integer(number), '+inf', 'WITHSCORES', 'LIMIT', 0, size)
      for i = 1, #page, 2 do found[#found + 1] = {page[i], tonumber(page[i + 1])} end
      -- This part may have more: what the others have after it comes later.
      if #page == 2 * size then bound = math.min(bound or math.huge, tonumber(page[#page])) end
    end
    for _, name in ipairs(names) do
      local at = tonumber(redis.call('ZSCORE', feed, name) or nil)
      if at and at > number then found[#found + 1] = {name, at} end
    end
    table.sort(found, function(a, b) return a[2] < b[2] end)
    local scopes, numbers = {}, {}
    for i, each in ipairs(found) do
      if bound and each[2] > bound then break end
      scopes[i], numbers[i] = each[1], each[2]
    end
    return scopes, numbers, bound ~= nil
  end
end
