-- Read the scopes changed since a position in the feed, each at its present state.
-- KEYS[1] feed           zset    scope -> the number of its newest change, `<tag>:feed`; all other keys have its tag (see
--                                keys.py): feed_number, replica_id, doc, sources and high_water. Few words are few bytes
-- ARGV[1] call           the store that the position belongs to (`-` for the beginning), the position, the most scopes,
--                        the bytes of bodies after which no further scope is added, the id that the store gets where it
--                        has none, or must change it, what the reader has: `all` where it wants every body, else the
--                        ids of the stores whose states it has sent itself, a comma between each (`-` for none), and how
--                        many states it was given by hints; a space between each. There may be several stores and
--                        positions, a comma between each: those of shards whose scopes were moved to this one
-- ARGV[2..] rest         each state that it was given: <length of state>:<state><scope>, where the state is version, clock,
--                        the beginning of its checksum and of its signature (`-` for none) and origin, a space between
--                        each. It is left out where it is the present state. Then the patterns of the scopes to read, see
--                        include/patterns.lua; none for all scopes
-- Reply: [string, string...]: replica_id, number, restarted (1 or 0) and whether the feed goes on after the page (1 or
--   0), a space between each; and for each scope its name and its state, as in include/feed_state.lua
-- Invariant: a position of another store, or one that this store never gave out, is the beginning: nothing is left out
--   but what was moved here from another store, is not past the reader's position there, and has not changed since; the
--   position goes on, and the work is bounded, even where no scope matches the patterns
-- Repeat: idempotent, reads, and names the store once
-- include: document
-- include: scope_part
-- include: feed_sources
-- include: feed_parts
-- include: splice
-- include: kept_splices
-- include: feed_state
-- include: patterns
local MAX_SCANNED = 2000
local feed = KEYS[1]
local tag = string.match(feed, '^[^}]*}')
local id_key, high_water = tag .. ':replica_id', tag .. ':high_water'
local position_id, position, limit, max_bytes, proposed_id, has, given_count = string.match(ARGV[1],
  '^(%S+) (%S+) (%d+) (%d+) (%S+) (%S+) (%d+)$')
limit, max_bytes = tonumber(limit), tonumber(max_bytes)
redis.call('ZCARD', feed)
redis.call('GET', tag .. ':feed_number')
local stored = redis.call('GET', high_water)
local highest = stored and string.find(stored, '^%d+$') and #stored <= 16 and tonumber(stored) or 0
local id = redis.call('GET', id_key)
if not id or not string.find(id, '^[%w-]+$') then -- none, or a damaged one
  id = proposed_id
  redis.call('SET', id_key, id)
end
local number, others = split_position(position_id, position, id)
local skipped, are_sources, is_older, is_lost = {}, false, number and number > highest, false
if others then skipped, are_sources, is_older, is_lost = find_skipped(tag .. ':sources', others, is_older) end
if is_older then
  -- An edge has a higher position than this store remembers: it was restored from a backup. The new id shows that to
  -- the other edges, even after the feed has grown past their positions.
  id, is_lost = proposed_id, true
  redis.call('SET', id_key, id)
  redis.call('DEL', tag .. ':sources')
end
if is_lost then number, skipped, are_sources = nil, {}, false end
local is_known = number ~= nil or are_sources
number = number or 0

local given, patterns, compiled = {}, {}, {}
for i = 2, 1 + given_count do
  local length, from = string.match(ARGV[i], '^(%d+):()')
  given[string.sub(ARGV[i], from + length)] = string.sub(ARGV[i], from, from + length - 1)
end
for i = 2 + given_count, #ARGV do
  patterns[#patterns + 1], compiled[#compiled + 1] = ARGV[i], compile_pattern(ARGV[i])
end
local top = tonumber(redis.call('ZREVRANGE', feed, 0, 0, 'WITHSCORES')[2] or 0)
local parts, names = nil, nil
if #patterns > 0 then parts, names = parts_of(tag, patterns) end
if parts and not complete_parts(tag, top) then parts = nil end
local read_page = parts and parts_reader(feed, parts, names, limit)
  or whole_reader(feed, #patterns > 0 and SCAN_PAGE or limit, #skipped > 0)
local held = nil
if has == 'all' then held = '' end
local reply, scopes, bytes, scanned, has_more = {''}, 0, 0, 0, true
local function is_full() return scopes >= limit or bytes >= max_bytes end
while has_more and not is_full() and scanned < MAX_SCANNED do
  local page, numbers
  number = pass_skipped(skipped, number)
  page, numbers, has_more = read_page(number)
  local last
  for i, scope in ipairs(page) do
    if is_full() then
      has_more = true
      break
    end
    local is_wanted = (#patterns == 0 or matches_any(scope, compiled))
      and not (numbers and is_skipped(skipped, numbers[i]))
    if is_wanted and not is_state(tag .. ':doc:' .. scope, given[scope]) then
      local state, size = read_feed_state(tag .. ':doc:' .. scope, held, has)
      if state ~= '' then
        reply[#reply + 1], reply[#reply + 2] = scope, state
        scopes, bytes = scopes + 1, bytes + size
      end
    end
    last = i
  end
  if last then number = numbers and numbers[last] or tonumber(redis.call('ZSCORE', feed, page[last])) end
  scanned = scanned + #page
end
if not has_more then number = math.max(number, top) end -- the rest of the feed has none of these scopes
local at = string.format('%.0f', number)
if number > highest then
  redis.call('ZREM', feed, '') -- a first write that needs no memory: a cloud that is full can still be read
  redis.call('SET', high_water, at)
end
reply[1] = id .. ' ' .. at .. ' ' .. ((is_known or position_id == '-') and '0' or '1') .. ' ' .. (has_more and '1' or '0')
return reply
