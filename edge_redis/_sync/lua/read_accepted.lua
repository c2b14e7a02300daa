-- Deliver accepted changes to one consumer of a group: those of consumers that are taken for dead, then the next ones.
-- KEYS[1] accepted       stream  the accepted changes, `<tag>:accepted`; all other keys have its tag (see keys.py):
--                                accepted_keep, accepted_number and accepted_groups
-- ARGV[1] group
-- ARGV[2] consumer
-- ARGV[3] limit          integer, the most changes
-- ARGV[4] claim_idle_ms  integer, after which a consumer that has not acknowledged a change is taken for dead
-- ARGV[5] max_bytes      integer, of bodies after which no further change is added
-- ARGV[6] start          where a new group begins: `0` (the oldest change) or `$` (the next one)
-- Reply: [integer, [string, [string...]]...] | 'OFF': how many changes this group has lost since its last read, as retention
--   removed them before they were delivered or acknowledged, and id and fields of each change; the cloud keeps none
-- Invariant: each change is delivered to one consumer of a group, and again only where it was not acknowledged in time
-- Layout: unchecked, since its users may have no right to other keys
-- Repeat: idempotent: what was delivered and not acknowledged is delivered again after the claim time
-- include: document
local PAGE, MAX_SCANS = 16, 50 -- changes that are read at once: only the last page may be over the bytes
local stream, group, consumer, start = KEYS[1], ARGV[1], ARGV[2], ARGV[6]
local limit, claim_idle_ms, bytes_left = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local tag = string.match(stream, '^[^}]*}')
local groups = tag .. ':accepted_groups'
if redis.call('XLEN', stream) == 0 and redis.call('EXISTS', tag .. ':accepted_keep') == 0 then return 'OFF' end

local function field(entry, name)
  for i = 1, #entry[2], 2 do
    if entry[2][i] == name then return entry[2][i + 1] end
  end
end

local function number_of(entry)
  local number = entry and field(entry, 'number')
  return is_version(number) and tonumber(number) or nil
end

-- The number of the last change that the group was given, and how many it has lost.
local stored = redis.call('HGET', groups, group) or ''
local last, lost = string.match(stored, '^(%d+) (%d+)$')
last, lost = tonumber(last), tonumber(lost or 0)
local newest = redis.call('MGET', tag .. ':accepted_number')[1]
newest = is_version(newest) and tonumber(newest) or 0

local held = redis.pcall('XPENDING', stream, group)
if held.err then
  redis.call('XGROUP', 'CREATE', stream, group, start, 'MKSTREAM')
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  last = start == '0' and number_of(oldest) and number_of(oldest) - 1 or newest
  held = {0}
end

local reply = {0}
local function is_full() return #reply > limit or bytes_left <= 0 end
local function add(entry)
  reply[#reply + 1] = entry
  bytes_left = bytes_left - #(field(entry, 'data') or '')
end

-- Consumers without changes are removed, since each start of a program may add one; a live one is created again.
local function remove_idle_consumers()
  for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    local found = {}
    for i = 1, #info, 2 do found[info[i]] = info[i + 1] end
    if found.name ~= consumer and found.pending == 0 and found.idle >= claim_idle_ms then
      redis.call('XGROUP', 'DELCONSUMER', stream, group, found.name)
    end
  end
end

local removed, cursor, scans = 0, '0-0', 0
if held[1] > 0 then
  repeat -- a scan looks at ten times as many changes, which live consumers may have
    local claimed = redis.call('XAUTOCLAIM', stream, group, consumer, claim_idle_ms, cursor, 'COUNT',
      math.min(PAGE, limit + 1 - #reply))
    cursor, scans = claimed[1], scans + 1
    for _, entry in ipairs(claimed[2]) do
      if entry then add(entry) end
    end
    removed = removed + #(claimed[3] or {})
  until cursor == '0-0' or is_full() or scans == MAX_SCANS
  if #reply > 1 or removed > 0 then remove_idle_consumers() end
end
while not is_full() do
  local page = math.min(limit + 1 - #reply, PAGE)
  local new = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', page, 'STREAMS', stream, '>')
  local entries = new and new[1] and (type(new[1]) == 'string' and new[2] or new[1][2]) or {} -- fakeredis: flat
  for _, entry in ipairs(entries) do
    local number = number_of(entry)
    if last and number and number > last + 1 then removed = removed + number - last - 1 end
    last = number or last
    add(entry)
  end
  if #entries < page then break end
end
reply[1] = removed
local known = integer(last or newest) .. ' ' .. integer(lost + removed)
if known ~= stored then redis.call('HSET', groups, group, known) end
return reply
