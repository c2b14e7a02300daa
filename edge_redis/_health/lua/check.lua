-- Judge some nodes: append each verdict to the node's history, and write what changed to the stream.
-- KEYS[1] beats            zset    node id -> last heartbeat, server ms
-- KEYS[2] node             prefix  hash of a node's facts at KEYS[2]:<id>
-- KEYS[3] history          prefix  list of a node's checks, newest first, at KEYS[3]:<id>
-- KEYS[4] transitions      stream  state changes
-- KEYS[5] totals           hash    total_checks
-- KEYS[6] repeats          prefix  the last call of each slot
-- KEYS[7] duty             hash    who watches, and since when (see duty.lua)
-- KEYS[8] suspects         hash    node id -> suspected since, server ms (see suspect.lua)
-- ARGV[1] slot             string
-- ARGV[2] number           integer
-- ARGV[3] timeout_ms       number, a heartbeat must be younger
-- ARGV[4] max_history      integer, checks kept a node
-- ARGV[5] max_transitions  integer, about how many the stream keeps
-- ARGV[6] orphan_ms        integer, expiry of the history of a node that is not registered
-- ARGV[7] form             'full' for the history's line of one node, 'brief' for a word a node, 'watch' for
--                          'brief' that writes nothing of nodes that would turn unhealthy by their silence
-- ARGV[8] now_ms           integer, the moment of judgement, or '' for the server's time
-- ARGV[9] fence            integer, the turn of duty the caller judges in, or '' where anybody may
-- ARGV[10] threshold       number, a silence whose phi reaches it is too long; or '' where the timeout alone decides
-- ARGV[11] overdue_ms      number, for 'watch': a silence so long is one to notice
-- ARGV[12] overdue_phi     number, for 'watch': so is one of this phi; or ''
-- ARGV[13] note            string, added to the reason of what turns unhealthy by its silence
-- ARGV[14..] nodes         pairs: id, and '' or what the caller holds: '<beat_ms> <status> <location>'
-- Reply: string; full: '<1|0> <age_ms> <at_ms> <skew_ms> <status> <location>'; brief: '<1|0><age_ms>' and '!' where
--        the verdict is another than before, separated by spaces; watch: the same with '?' for the verdict where it
--        is withheld, '^' for a node that was up, '~' for one of these that is overdue; any '-' for a node that
--        neither is registered nor was described; 'FENCED' where the turn is over
-- Invariant: one line in the history a node and call; a transition only where the state differs from the one before;
--            a node on which there is a verdict is no suspect
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: arrivals
-- include: phi
local beats, node_prefix, history_prefix, transitions = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local totals, repeats, duty, suspects = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local slot, number = ARGV[1], ARGV[2]
local timeout_ms, max_history, max_transitions, orphan_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
local form, fence, threshold = ARGV[7], ARGV[9], tonumber(ARGV[10])
local overdue_ms, overdue_phi, note = tonumber(ARGV[11]), tonumber(ARGV[12]), ARGV[13]
local FIRST_NODE = 14
local VERDICTS = { ['1'] = 'healthy', ['0'] = 'unhealthy' }

local server_now = now_ms()
local now = ARGV[8] ~= '' and tonumber(ARGV[8]) or server_now
local before = recall(repeats, server_now, slot, number)
if before then return before end
local now_text = string.format('%.0f', now)

-- A turn of duty ends when another takes over, and a round of it when the server itself was away since its
-- last step: the nodes could not beat either. Until since_ms nobody could be heard. A round of many steps
-- keeps the lease as it goes.
local since = -math.huge
if fence ~= '' then
  local turn = redis.call('HMGET', duty, 'fence', 'round_ms', 'gap_ms', 'since_ms', 'lease_ms')
  local step = turn[1] == fence and now - tonumber(turn[2])
  if not step or step < 0 or step > tonumber(turn[3]) then return 'FENCED' end
  since = tonumber(turn[4])
  redis.call('HSET', duty, 'round_ms', now_text, 'seen_ms', now_text,
    'until_ms', string.format('%.0f', now + tonumber(turn[5])))
end

-- What counts of a node: of the registry's facts and the caller's, those of the later heartbeat;
-- of two that are equally late, the caller's. A heartbeat from the future is one of now.
local function known(id, claim)
  local registered = redis.call('ZSCORE', beats, id)
  local beat = registered and tonumber(registered)
  if claim ~= '' then
    local claimed, status, location = string.match(claim, '^(%-?%d+) (%l+) (.*)$')
    claimed = tonumber(claimed)
    if not beat or math.min(claimed, now) >= beat then
      return claimed, status, location, string.format('%.0f', math.max(0, claimed - now)), registered
    end
  elseif not beat then
    return nil
  end
  local facts = redis.call('HMGET', node_prefix .. ':' .. id, 'status', 'location', 'skew_ms')
  return beat, facts[1] or 'online', facts[2] or '', facts[3] or '0', registered
end

-- A heartbeat later than now was written before the server's clock was set back: what it says is not known.
local function heard(beat, previous)
  if fence == '' or beat <= now then return previous == '0' and beat or math.max(beat, since) end
  return previous == '0' and now - timeout_ms or since
end

-- All reading comes first: a key of another kind is an error before anything is written.
local latest, suspected = {}, {}
local function judge(id, claim)
  local beat, status, location, skew, registered = known(id, claim)
  if not beat then return nil end
  local history = history_prefix .. ':' .. id
  local line = latest[id] or redis.call('LINDEX', history, 0) or ''
  local previous = string.sub(line, 1, 1)
  local silence = math.max(0, now - heard(beat, previous))
  local doubt = threshold and phi(node_prefix .. ':' .. id, silence)
  local fresh = silence < timeout_ms and not (doubt and doubt >= threshold)
  local up = previous ~= '0' and status ~= 'offline' and status ~= 'maintenance'
  local verdict = {
    id = id, history = history, doubt = doubt, registered = registered, status = status,
    age = math.max(0, now - beat), before = line, previous = previous, turning = up and not fresh,
    flag = fresh and status ~= 'offline' and '1' or '0',
  }
  verdict.withheld = form == 'watch' and verdict.turning
  local age_text = string.format('%.0f', verdict.age)
  verdict.line = verdict.flag .. ' ' .. age_text .. ' ' .. now_text .. ' ' .. skew .. ' ' .. status .. ' ' .. location
  if not verdict.withheld then latest[id] = verdict.line end
  verdict.word = (verdict.withheld and '?' or verdict.flag) .. age_text
    .. (VERDICTS[previous] and not verdict.withheld and verdict.flag ~= previous and '!' or '')
  if form == 'watch' and up then
    local overdue = silence >= overdue_ms or (doubt and doubt >= overdue_phi)
    verdict.word = verdict.word .. (overdue and '^~' or '^')
  end
  return verdict
end

local judged, words = {}, {}
for index = FIRST_NODE, #ARGV, 2 do
  local verdict = judge(ARGV[index], ARGV[index + 1])
  if verdict and not verdict.withheld then judged[#judged + 1] = verdict end
  words[#words + 1] = verdict and (form == 'full' and verdict.line or verdict.word) or '-'
end
local reply = table.concat(words, ' ')
if #judged == 0 then return reply end
if redis.call('HLEN', suspects) > 0 then
  for _, verdict in ipairs(judged) do
    suspected[verdict.id] = tonumber(redis.call('HGET', suspects, verdict.id) or nil)
  end
end
redis.call('XLEN', transitions)

-- The state before and now: maintenance, whatever the verdict, or else the verdict.
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

-- The first verdict on a node is no news where it is a good one.
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

redis.call('HINCRBY', totals, 'total_checks', #judged)
for _, verdict in ipairs(judged) do
  if redis.call('LPUSH', verdict.history, verdict.line) > max_history then
    redis.call('LTRIM', verdict.history, 0, max_history - 1)
  end
  if not verdict.registered then redis.call('PEXPIRE', verdict.history, orphan_ms) end
  write_transition(verdict)
end
remember(repeats, server_now, slot, number, reply)
return reply
