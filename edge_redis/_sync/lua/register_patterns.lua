-- Register the patterns of the scopes that a worker carries, and remove those of workers that have ended.
-- KEYS[1] patterns       hash    see push_patterns.py
-- ARGV[1] push           the patterns of the scopes that it pushes, `<length>:<pattern>` each
-- ARGV[2] state          `running`; `sorted` where it has sorted the outboxes since; `ended`
-- ARGV[3..] urgent       patterns of its urgent scopes
-- Reply: integer: 1 where the outboxes are to be sorted by the patterns that are registered now, else 0
-- Invariant: what a running worker pushes is registered, for a day at least after it was last heard of
-- Repeat: idempotent
-- include: clock
-- include: patterns
-- include: carried
local patterns, push, state = KEYS[1], ARGV[1], ARGV[2]
local own, now = 'push ' .. push, now_ms()
local DAY_MS, SILENT_MS = 24 * 3600 * 1000, 2 * 3600 * 1000

-- Whether each scope of this worker is one of the other patterns too, so that it may run in the place of their worker.
local function covers_own(text)
  local others, own_patterns = split_patterns(text), split_patterns(push)
  for _, pattern in ipairs(own_patterns) do
    local scope = string.gsub(string.gsub(pattern, '%*', '\1\1\1'), '%?', '\1')
    if not is_any_for(others, scope) then return false end
  end
  return #own_patterns > 0
end

local function has_ended(kind, field, text, since)
  if field == own then return false end
  local silent = now - (tonumber(string.match(since, '%d+$')) or 0)
  if silent > DAY_MS then return true end
  return kind == 'push' and (string.sub(since, 1, 1) == '-' or silent > SILENT_MS) and covers_own(text)
end

local at = string.format('%.0f', now)
local before = redis.call('HGET', patterns, own)
redis.call('HDEL', patterns, '') -- a first write that needs no memory, see lease_entries.lua
if state == 'ended' then
  if before and string.sub(before, 1, 1) ~= '~' then redis.call('HSET', patterns, own, '-' .. at) end
  return 0
end
local is_first = redis.call('HLEN', patterns) == 0
local is_changed = not before and not (is_first and own == PUSHES_ALL)
if state ~= 'sorted' then
  local found = redis.call('HGETALL', patterns)
  for i = 1, #found, 2 do
    local kind, text = string.match(found[i], '^(%a+) (.*)$')
    if has_ended(kind, found[i], text, found[i + 1]) then
      redis.call('HDEL', patterns, found[i])
      is_changed = is_changed or kind == 'push'
    end
  end
  is_changed = is_changed or string.sub(before or '', 1, 1) == '~'
end
for i = 3, #ARGV do
  if redis.call('HSET', patterns, 'urgent ' .. ARGV[i], at) == 1 then is_changed = true end
end
is_changed = is_changed and state ~= 'sorted'
redis.call('HSET', patterns, own, (is_changed and '~' or '') .. at)
return is_changed and 1 or 0
