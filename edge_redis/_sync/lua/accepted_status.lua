-- Read how many accepted changes the cloud keeps, and how far each group has read them.
-- KEYS[1] accepted       stream  the accepted changes, `<tag>:accepted`; all other keys have its tag (see keys.py):
--                                accepted_keep, accepted_number and accepted_groups
-- Reply: [string, integer, number, string, [string, integer, integer, number, number]...] | 'OFF': how long changes are kept, ''
--   where no more are; how many there are, the number of the newest, and the id of the oldest, '' where there is none; and of
--   each group its name, its consumers, the changes that were delivered and not acknowledged, those not delivered yet, and
--   those that retention removed before; nothing is kept, nor was
-- Invariant: writes nothing
-- Layout: unchecked, since its users may have no right to other keys
-- Repeat: idempotent, reads
-- include: document
local stream = KEYS[1]
local tag = string.match(stream, '^[^}]*}')
local length, keep = redis.call('XLEN', stream), redis.call('GET', tag .. ':accepted_keep')
if not keep and redis.call('EXISTS', stream) == 0 then return 'OFF' end
local newest = redis.call('MGET', tag .. ':accepted_number')[1]
newest = is_version(newest) and tonumber(newest) or 0

local function number_of(entry)
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'number' then return is_version(entry[2][i + 1]) and tonumber(entry[2][i + 1]) or newest + 1 end
  end
  return newest + 1
end

local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
local reply = {keep or '', length, integer(newest), oldest and oldest[1] or ''}
for _, info in ipairs(length > 0 and redis.call('XINFO', 'GROUPS', stream) or {}) do
  local group = {}
  for i = 1, #info, 2 do group[info[i]] = info[i + 1] end
  local following = redis.call('XRANGE', stream, '(' .. group['last-delivered-id'], '+', 'COUNT', 1)[1]
  local next_number = following and number_of(following) or newest + 1
  local last, lost = string.match(redis.call('HGET', tag .. ':accepted_groups', group.name) or '', '^(%d+) (%d+)$')
  local missing = last and math.max(0, next_number - 1 - tonumber(last)) or 0
  reply[#reply + 1] = {group.name, group.consumers, group.pending, integer(newest + 1 - next_number),
    integer(tonumber(lost or 0) + missing)}
end
return reply
