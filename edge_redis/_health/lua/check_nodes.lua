-- Check some nodes: append each verdict to the node's history, and write what changed to the stream.
-- KEYS[1] heartbeats       zset    node id -> last heartbeat, server ms
-- KEYS[2] node             prefix  hash of a node's record at KEYS[2]:<id>
-- KEYS[3] history          prefix  list of a node's checks, newest first, at KEYS[3]:<id>
-- KEYS[4] transitions      stream  state changes
-- KEYS[5] totals           hash    total_checks
-- KEYS[6] repeats          prefix  the last call of each client id
-- KEYS[7] leader           hash    see leader_lease.lua
-- KEYS[8] suspects         hash    node id -> suspected since, server ms (see record_suspicion.lua)
-- ARGV[1] client_id        string
-- ARGV[2] sequence         integer
-- ARGV[3] timeout_ms       number, a heartbeat must be younger
-- ARGV[4] max_history      integer, checks kept a node
-- ARGV[5] max_transitions  integer, about how many the stream keeps
-- ARGV[6] orphan_ms        integer, expiry of the history of a node that is not registered
-- ARGV[7] form             'full' for the history's line of one node, 'brief' for a word a node, 'watch' for
--                          'brief' that writes nothing of nodes that missing heartbeats would turn unhealthy
-- ARGV[8] now_ms           integer, the moment of the check, or '' for the server's time
-- ARGV[9] term             integer, the caller's term as leader, or '' where any caller may check
-- ARGV[10] threshold       number, a node whose phi reaches it is unhealthy; or '' where the timeout alone decides
-- ARGV[11] overdue_ms      number, for 'watch': a node without a heartbeat for so long is overdue
-- ARGV[12] overdue_phi     number, for 'watch': so is a node of this phi; or ''
-- ARGV[13] note            string, added to the reason where missing heartbeats turn a node unhealthy
-- ARGV[14..] nodes         pairs: id, and '' or the caller's own record: '<heartbeat_ms> <status> <location>'
-- Reply: string; full: '<1|0> <age_ms> <at_ms> <skew_ms> <status> <location>'; brief: '<1|0><age_ms>' and '!' where
--        the verdict differs from the one before, separated by spaces; watch: the same with '?' for a verdict that is
--        deferred, '^' for a node that was up, '~' for an overdue one of these; any: '-' for a node that is neither
--        registered nor described; 'FENCED' where the term or its round is over
-- Invariant: one line in the history a node and call; a transition only where the state differs from the one before;
--            a node that has a verdict is not suspected
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: arrivals
-- include: phi
local heartbeats, node_prefix, history_prefix, transitions = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local totals, repeats, leader, suspects = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local client_id, sequence = ARGV[1], ARGV[2]
local timeout_ms, max_history, max_transitions, orphan_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
local form, term, threshold = ARGV[7], ARGV[9], tonumber(ARGV[10])
local overdue_ms, overdue_phi, note = tonumber(ARGV[11]), tonumber(ARGV[12]), ARGV[13]
local FIRST_NODE = 14
local VERDICTS = { ['1'] = 'healthy', ['0'] = 'unhealthy' }

local server_now = now_ms()
local now = ARGV[8] ~= '' and tonumber(ARGV[8]) or server_now
local before = recall(repeats, server_now, client_id, sequence)
if before then return before end
local now_text = string.format('%.0f', now)

-- A term ends when another watch leads. A round of it ends when the server was away since its last step: the nodes
-- could send no heartbeats either. Until since_ms no heartbeat could arrive. A long round keeps its lease as it goes.
local since = -math.huge
if term ~= '' then
  local known = redis.call('HMGET', leader, 'term', 'round_ms', 'gap_ms', 'since_ms', 'lease_ms')
  local step = known[1] == term and now - tonumber(known[2])
  if not step or step < 0 or step > tonumber(known[3]) then return 'FENCED' end
  since = tonumber(known[4])
  redis.call('HSET', leader, 'round_ms', now_text, 'seen_ms', now_text,
    'until_ms', string.format('%.0f', now + tonumber(known[5])))
end

-- Return heartbeat, status, location, clock skew and whether the node is registered. Of the registry's record and the
-- caller's, the one with the later heartbeat counts; the caller's where they are equal. A heartbeat in the future
-- counts as now.
local function find(id, given)
  local registered = redis.call('ZSCORE', heartbeats, id)
  local heartbeat = registered and tonumber(registered)
  if given ~= '' then
    local claimed, status, location = string.match(given, '^(%-?%d+) (%l+) (.*)$')
    claimed = tonumber(claimed)
    if not heartbeat or math.min(claimed, now) >= heartbeat then
      return claimed, status, location, string.format('%.0f', math.max(0, claimed - now)), registered
    end
  elseif not heartbeat then
    return nil
  end
  local record = redis.call('HMGET', node_prefix .. ':' .. id, 'status', 'location', 'skew_ms')
  return heartbeat, record[1] or 'online', record[2] or '', record[3] or '0', registered
end

-- Return from when heartbeats count as missing. A heartbeat later than now was written before the server's clock was
-- set back, so its age is not known.
local function missing_since(heartbeat, previous)
  if term == '' or heartbeat <= now then return previous == '0' and heartbeat or math.max(heartbeat, since) end
  return previous == '0' and now - timeout_ms or since
end

-- All reading comes first: a key of another type fails before anything is written.
local latest, suspected = {}, {}
local function check(id, given)
  local heartbeat, status, location, skew, registered = find(id, given)
  if not heartbeat then return nil end
  local history = history_prefix .. ':' .. id
  local line = latest[id] or redis.call('LINDEX', history, 0) or ''
  local previous = string.sub(line, 1, 1)
  local missing = math.max(0, now - missing_since(heartbeat, previous))
  local doubt = threshold and phi(node_prefix .. ':' .. id, missing)
  local fresh = missing < timeout_ms and not (doubt and doubt >= threshold)
  local up = previous ~= '0' and status ~= 'offline' and status ~= 'maintenance'
  local verdict = {
    id = id, history = history, doubt = doubt, registered = registered, status = status,
    age = math.max(0, now - heartbeat), before = line, previous = previous, turning = up and not fresh,
    flag = fresh and status ~= 'offline' and '1' or '0',
  }
  verdict.deferred = form == 'watch' and verdict.turning
  local age_text = string.format('%.0f', verdict.age)
  verdict.line = verdict.flag .. ' ' .. age_text .. ' ' .. now_text .. ' ' .. skew .. ' ' .. status .. ' ' .. location
  if not verdict.deferred then latest[id] = verdict.line end
  verdict.word = (verdict.deferred and '?' or verdict.flag) .. age_text
    .. (VERDICTS[previous] and not verdict.deferred and verdict.flag ~= previous and '!' or '')
  if form == 'watch' and up then
    local overdue = missing >= overdue_ms or (doubt and doubt >= overdue_phi)
    verdict.word = verdict.word .. (overdue and '^~' or '^')
  end
  return verdict
end

local checked, words = {}, {}
for index = FIRST_NODE, #ARGV, 2 do
  local verdict = check(ARGV[index], ARGV[index + 1])
  if verdict and not verdict.deferred then checked[#checked + 1] = verdict end
  words[#words + 1] = verdict and (form == 'full' and verdict.line or verdict.word) or '-'
end
local reply = table.concat(words, ' ')
if #checked == 0 then return reply end
if redis.call('HLEN', suspects) > 0 then
  for _, verdict in ipairs(checked) do
    suspected[verdict.id] = tonumber(redis.call('HGET', suspects, verdict.id) or nil)
  end
end
redis.call('XLEN', transitions)

-- Return the state before and the state now: maintenance, whatever the verdict, or else the verdict.
local function states(verdict)
  local status = string.match(verdict.before, '^[01] %d+ %d+ %d+ (%l+)')
  local was = status == 'maintenance' and status or VERDICTS[verdict.previous] or 'unknown'
  if suspected[verdict.id] then was = 'suspected' end
  return was, verdict.status == 'maintenance' and 'maintenance' or VERDICTS[verdict.flag]
end

local function reason(verdict)
  local text = string.format('heartbeat %.1f s old, timeout %g s', verdict.age / 1000, timeout_ms / 1000)
  if verdict.doubt then text = text .. string.format(', phi %.1f, threshold %g', verdict.doubt, threshold) end
  local since_ms = suspected[verdict.id]
  if since_ms then text = text .. string.format(', suspected for %.1f s', math.max(0, now - since_ms) / 1000) end
  if verdict.turning then text = text .. note end
  if verdict.status ~= 'offline' and verdict.status ~= 'maintenance' then return text end
  return 'status is ' .. verdict.status .. ', ' .. text
end

-- A first verdict is written to the stream only where it is not healthy.
local function write_transition(verdict)
  if verdict.flag == verdict.previous and verdict.status ~= 'maintenance' and not suspected[verdict.id]
    and not string.find(verdict.before, ' maintenance ', 1, true) then return end
  local was, is = states(verdict)
  if was == is or (was == 'unknown' and is == 'healthy') then return end
  redis.call('XADD', transitions, 'MAXLEN', '~', max_transitions, '*', 'node', verdict.id,
    'state', was == 'unhealthy' and is == 'healthy' and 'recovered' or is, 'previous', was,
    'at', now_text, 'reason', reason(verdict))
  if suspected[verdict.id] then
    redis.call('HDEL', suspects, verdict.id)
    suspected[verdict.id] = nil
  end
end

redis.call('HINCRBY', totals, 'total_checks', #checked)
for _, verdict in ipairs(checked) do
  if redis.call('LPUSH', verdict.history, verdict.line) > max_history then
    redis.call('LTRIM', verdict.history, 0, max_history - 1)
  end
  if not verdict.registered then redis.call('PEXPIRE', verdict.history, orphan_ms) end
  write_transition(verdict)
end
remember(repeats, server_now, client_id, sequence, reply)
return reply
