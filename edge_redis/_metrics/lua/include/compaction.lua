-- Adds bodies (see totals.py) to the stored fields. Reads and plans first, so that an error comes before any
-- write.
-- Needs: whole, LOGS, log_key
local GROUP = 4 -- of sketch.py
local SUMS = {'n', 'e', 'w', 'ms', 'ns'}
local AHEAD_MINUTES = 60 -- by which a writer's clock may be ahead
local MAX_WORK = 1200 -- about as many fields as take 4 ms
local SHARE_OF_MERGED = 0.06 -- of the work of a part in a series that another part is added to (measured)
local OTHER = '6:_other_other'
local MAX_COUNT = 2^53 -- up to which Lua counts exactly

local function add_sums(to, count, errors, slow, ms, ns)
  to[1], to[2], to[3], to[4], to[5] = to[1] + count, to[2] + errors, to[3] + slow, to[4] + ms, to[5] + ns
end

local function series_of(all, name)
  local series = all[name]
  if not series then
    series = {sums = {0, 0, 0, 0, 0}, buckets = {}, groups = {}, minutes = {}, max_ms = 0}
    all[name] = series
  end
  return series
end

local function cell_of(series, minute)
  local cell = series.minutes[minute]
  if not cell then
    cell = {0, 0, 0, 0, 0}
    series.minutes[minute] = cell
  end
  return cell
end

-- Adds a part to its pair; returns the number of its records.
local function add_part(pair, part, now_minute, timeline_minutes)
  local buckets, indexes, counts, count = pair.buckets, part[7], part[8], 0
  for at = 1, #indexes do
    local index, by = indexes[at], counts[at]
    buckets[index] = (buckets[index] or 0) + by
    count = count + by
  end
  add_sums(pair.sums, count, part[3], part[4], part[5], part[6])
  pair.max_ms = math.max(pair.max_ms, part[11])
  local minutes = part[9]
  for at = 1, #minutes, 6 do
    local age = now_minute - minutes[at]
    if age <= timeline_minutes and age >= -AHEAD_MINUTES then
      add_sums(cell_of(pair, minutes[at]), unpack(minutes, at + 1, at + 5))
    end
  end
  return count
end

-- Returns the buckets of a pair in the groups that are fields of a hash.
local function group_buckets(buckets)
  local groups = {}
  for index, count in pairs(buckets) do
    local number = math.floor(index / GROUP)
    local group = groups[number]
    if not group then
      group = {0, 0, 0, 0}
      groups[number] = group
    end
    group[index - number * GROUP + 1] = count
  end
  return groups
end

local function add_groups(to, from)
  for number, counts in pairs(from) do
    local sum = to[number]
    if sum then
      sum[1], sum[2], sum[3], sum[4] = sum[1] + counts[1], sum[2] + counts[2], sum[3] + counts[3], sum[4] + counts[4]
    else
      to[number] = {counts[1], counts[2], counts[3], counts[4]}
    end
  end
end

local function add_series(to, from)
  add_sums(to.sums, unpack(from.sums))
  add_groups(to.groups, from.groups)
  for minute, cell in pairs(from.minutes) do add_sums(cell_of(to, minute), unpack(cell)) end
end

-- Adds a pair to a series. A series with one pair shares the table of the pair, which saves adding it up: a
-- function mostly runs on one node.
local function add_to_series(all, name, pair)
  local series = all[name]
  if not series then
    all[name] = pair
  elseif series.func then -- so far one pair's table
    all[name] = nil
    local sum = series_of(all, name)
    add_series(sum, series)
    add_series(sum, pair)
  else
    add_series(series, pair)
  end
end

-- Returns the share of a part's work that is to be done, for the four series of its pair; `seen` has the names of
-- the pairs and series that other parts are added to.
local function count_series(part, seen)
  local pair = #part[1] .. ':' .. part[1] .. part[2]
  if seen[pair] then return 4 * SHARE_OF_MERGED end
  local count = 1
  for _, name in ipairs({'f:' .. part[1], 'n:' .. part[2], 'all'}) do
    count = count + (seen[name] and SHARE_OF_MERGED or 1)
    seen[name] = true
  end
  seen[pair] = true
  return count
end

-- Returns about how many fields a body changes.
local function estimate_work(body, seen)
  local work = 1
  for _, part in ipairs(body[2]) do work = work + part[10] * count_series(part, seen) end
  return work
end

-- Returns a body, and how much work it is to add.
local function decode_body(text, seen)
  local body = cjson.decode(text)
  return body, estimate_work(body, seen)
end

-- Adds a body to its pairs; returns the overflow.
local function merge_body(body, of_pairs, is_member, now_minute, timeline_minutes)
  local overflow = body[1]
  for _, part in ipairs(body[2]) do
    local func, node = part[1], part[2]
    local name = #func .. ':' .. func .. node -- as keys.py has it
    local goes_under_other = not is_member(name)
    if goes_under_other then func, node, name = '_other', '_other', OTHER end
    local pair = series_of(of_pairs, name)
    pair.func, pair.node = func, node
    local count = add_part(pair, part, now_minute, timeline_minutes)
    if goes_under_other then overflow = overflow + count end
  end
  return overflow
end

-- Returns all bodies of a log: the stored ones, and the one that a call brings in the place of the last or behind it.
local function read_bodies(log)
  local bodies = log.stored > 0 and redis.call('LRANGE', log.key, 0, -1) or {}
  if log.body then bodies[log.replaces and log.stored or log.stored + 1] = log.body end
  return bodies
end

-- Adds up bodies of the logs, in order, until they come to `max_work`, and one at least. Sets how many of each
-- log are `taken`; returns the pairs and the overflow, or nil and the key of a log with a damaged body.
local function merge_logs(logs, max_work, is_member, now_minute, timeline_minutes)
  local of_pairs, overflow, work, seen = {}, 0, 0, {}
  for _, log in ipairs(logs) do
    for _, text in ipairs(read_bodies(log)) do
      local is_sound, body, more = pcall(decode_body, text, seen)
      if not is_sound then return nil, log.key end
      if work > 0 and work + more > max_work then return of_pairs, overflow end
      local is_merged, over = pcall(merge_body, body, of_pairs, is_member, now_minute, timeline_minutes)
      if not is_merged then return nil, log.key end
      work, overflow, log.taken = work + more, overflow + over, log.taken + 1
    end
  end
  return of_pairs, overflow
end

local function build_series(of_pairs)
  local all = {}
  for name, pair in pairs(of_pairs) do
    pair.groups = group_buckets(pair.buckets)
    all['p:' .. name] = pair
    add_to_series(all, 'f:' .. pair.func, pair)
    add_to_series(all, 'n:' .. pair.node, pair)
    add_to_series(all, 'all', pair)
  end
  return all
end

local function add_number(plan, write, field, stored, by)
  local sum = (tonumber(stored or 0) or 0) + by
  if stored and not string.find(stored, '^%d+$') or sum > MAX_COUNT then plan.corrupt = write[1] end
  write[#write + 1], write[#write + 2] = field, whole(sum)
end

-- Decodes all stored groups as one JSON text, which costs a third of matching each.
local function decode_groups(text, expected)
  local is_json, counts = pcall(cjson.decode, '[' .. text .. ']')
  return is_json and #counts == expected and counts
end

-- Returns the texts of the sums of groups, or nil where the stored ones are none.
local function add_stored(text, by, from)
  local counts = decode_groups(text, GROUP * (#by - from + 1))
  if not counts then return nil end
  local grown, place = {}, 0
  for at = from, #by do
    local more = by[at]
    local a, b = counts[place + 1] + more[1], counts[place + 2] + more[2]
    local c, d = counts[place + 3] + more[3], counts[place + 4] + more[4]
    local sum = a + b + c + d
    if sum ~= sum or sum > MAX_COUNT then return nil end -- NaN too
    grown[#grown + 1] = string.format('%d,%d,%d,%d', a, b, c, d) -- half the time of %.0f
    place = place + GROUP
  end
  return grown
end

-- Adds to the stored groups. A function that runs on one node has the groups of its pair: they are added up once.
local function grow_groups(plan, write, names, stored, by, from)
  local texts = {}
  for at = from, #stored do texts[#texts + 1] = stored[at] or '0,0,0,0' end
  local text = table.concat(texts, ',')
  if by.text ~= text then by.text, by.grown = text, add_stored(text, by, from) end
  if not by.grown then
    plan.corrupt = write[1]
    return
  end
  local at = #write
  for name = from, #names do
    write[at + 1], write[at + 2] = names[name], by.grown[name - from + 1]
    at = at + 2
  end
end

-- Fields of numbers first, then groups of buckets: one read and one write a key.
local function plan_write(plan, key, names, by, numbers)
  if #names == 0 then return end
  local stored = redis.call('HMGET', key, unpack(names))
  local write = {key}
  for at = 1, numbers do add_number(plan, write, names[at], stored[at], by[at]) end
  if #names > numbers and not pcall(grow_groups, plan, write, names, stored, by, numbers + 1) then
    plan.corrupt = key -- it holds JSON that is no count
  end
  plan.writes[#plan.writes + 1] = write
end

-- The longest duration is kept for pairs only, which exporters read.
local function plan_max(plan, key, max_ms)
  local stored = redis.call('HGET', key, 'x')
  if stored and not tonumber(stored) then
    plan.corrupt = key
  elseif not stored or tonumber(stored) < max_ms then
    plan.writes[#plan.writes + 1] = {key, 'x', string.format('%.17g', max_ms)}
  end
end

local function list_sums(prefix, sums, names, by)
  for at, field in ipairs(SUMS) do
    if sums[at] ~= 0 then names[#names + 1], by[#by + 1] = prefix .. field, sums[at] end
  end
end

-- Lists the fields of a series and their increments, once where several series share a table.
local function list_fields(series, group_names)
  if series.names then return end
  local names, by = {}, {}
  list_sums('', series.sums, names, by)
  series.names, series.by, series.numbers = names, by, #names
  local at = #names
  for number, counts in pairs(series.groups) do
    at = at + 1
    group_names[number] = group_names[number] or whole(number) -- few names, each used many times
    names[at], by[at] = group_names[number], counts
  end
end

local function plan_minutes(plan, root, name, minutes, timeline_minutes)
  local hours = {}
  for minute, cell in pairs(minutes) do
    local hour = math.floor(minute / 60)
    hours[hour] = hours[hour] or {names = {}, by = {}}
    list_sums(whole(minute - hour * 60), cell, hours[hour].names, hours[hour].by)
  end
  for hour, fields in pairs(hours) do
    local key = root .. ':t' .. whole(hour) .. ':' .. name
    plan_write(plan, key, fields.names, fields.by, #fields.names)
    plan.expiry[key] = ((hour + 1) * 60 + timeline_minutes) * 60
  end
end

-- Plans the writes that add bodies of these logs. Where `corrupt` is set, the key of that name does not hold what
-- these scripts write, and nothing may be written.
local function plan_compaction(root, logs, max_work, is_member, at_ms, timeline_minutes)
  local plan = {writes = {}, expiry = {}}
  local of_pairs, overflow = merge_logs(logs, max_work, is_member, math.floor(at_ms / 60000), timeline_minutes)
  if not of_pairs then
    plan.corrupt = overflow
    return plan
  end
  local group_names = {}
  for name, series in pairs(build_series(of_pairs)) do
    list_fields(series, group_names)
    plan_write(plan, root .. ':s:' .. name, series.names, series.by, series.numbers)
    if string.sub(name, 1, 2) == 'p:' then plan_max(plan, root .. ':s:' .. name, series.max_ms) end
    plan_minutes(plan, root, name, series.minutes, timeline_minutes)
  end
  if overflow > 0 then plan_write(plan, root .. ':meta', {'overflow'}, {overflow}, 1) end
  return plan
end

local function apply_plan(plan)
  for _, write in ipairs(plan.writes) do redis.call('HSET', unpack(write)) end
  for key, at in pairs(plan.expiry) do redis.call('EXPIREAT', key, whole(at)) end
end

-- Returns whether a log ends with the body of this token, which is the last item of its JSON text.
local function ends_with(key, token)
  local last, ending = redis.call('LINDEX', key, -1), '"' .. token .. '"]'
  return last and string.sub(last, -#ending) == ending
end

-- The log of a writer with this number, and the body that a call brings for it: to replace the last body, if that
-- has the token `replaced`, else nil; to be appended, where no token is given.
local function open_log(root, writer, number, body, replaced)
  local key = log_key(root, writer, number)
  local replaces = body and replaced ~= ''
  if replaces and not ends_with(key, replaced) then return nil end
  return {key = key, body = body, replaces = replaces, stored = redis.call('LLEN', key), taken = 0}
end

-- Removes from a log what was taken of it, and stores the call's body where that was not taken.
local function save_log(log)
  local bodies = log.stored + (log.body and not log.replaces and 1 or 0)
  if log.taken >= log.stored then
    if log.stored > 0 then redis.call('DEL', log.key) end
  elseif log.taken > 0 then
    redis.call('LTRIM', log.key, log.taken, -1)
  end
  if not log.body or log.taken >= bodies then return end
  if log.replaces then
    redis.call('LSET', log.key, -1, log.body)
  else
    redis.call('RPUSH', log.key, log.body)
  end
end

-- Notes whether a writer has a log.
local function save_writer(root, writer)
  local keys = {}
  for number = 0, LOGS - 1 do keys[#keys + 1] = log_key(root, writer, number) end
  local command = redis.call('EXISTS', unpack(keys)) > 0 and 'SADD' or 'SREM'
  redis.call(command, root .. ':writers', writer)
end
