-- Check some nodes: append each verdict to the node's history, and write what changed to the stream.
-- KEYS[1] heartbeats       zset    node id -> last heartbeat, server ms
-- KEYS[2] node             prefix  hash of a node's record at KEYS[2]:<id>
-- KEYS[3] history          prefix  list of a node's checks, newest first, at KEYS[3]:<id>
-- KEYS[4] spells           prefix  list of a node's changes of verdict, newest first, at KEYS[4]:<id>
-- KEYS[5] transitions      stream  state changes
-- KEYS[6] totals           hash    counts
-- KEYS[7] repeats          prefix  the last call of each client id
-- KEYS[8] leader           hash    see leader_lease.lua
-- KEYS[9] suspects         hash    node id -> suspected since, server ms (see record_suspicion.lua)
-- KEYS[10] flapping        set     ids of the nodes that flap
-- ARGV[1] client_id        string
-- ARGV[2] sequence         integer
-- ARGV[3] timeout_ms       number, a heartbeat must be younger, unless a watch leads or the node has its own timeout
-- ARGV[4] max_history      integer, checks kept a node
-- ARGV[5] max_transitions  integer, about how many the stream keeps
-- ARGV[6] orphan_ms        integer, expiry of the history of a node that is not registered
-- ARGV[7] form             'full' for the history's line of one node, 'brief' for a word a node, 'watch' for
--                          'brief' that writes nothing of nodes that missing heartbeats would turn unhealthy
-- ARGV[8] now_ms           integer, the moment of the check, or '' for the server's time
-- ARGV[9] term             integer, the caller's term as leader, or '' where any caller may check
-- ARGV[10] threshold       number, a node whose phi reaches it is unhealthy; or '' where the timeout alone decides
-- ARGV[11] overdue         number, for 'watch': a node without a heartbeat for this share of its timeout is overdue
-- ARGV[12] overdue_phi     number, for 'watch': so is a node of this phi; or ''
-- ARGV[13] note            string, added to the reason where missing heartbeats turn a node unhealthy
-- ARGV[14..] nodes         pairs: id, and '' or the caller's own record: '<heartbeat_ms> <status> <location>'
-- Reply: string: full: '<1|0>[m] <age_ms> <at_ms> <skew_ms> <status> <location>', with m in maintenance; brief:
--        '<1|0><age_ms>' and '!' where the verdict differs from the one before, separated by spaces; watch: the same with
--        '?' for a verdict that is deferred, '^' for a node that was up, '~' for an overdue one of these, '%' for a
--        suspected one; any: '-' for a node that is neither registered nor described; '@<timeout_ms>' and a newline
--        before all where the watch that leads has another timeout; 'FENCED' where the term or its round is over
-- Invariant: one line in the history a node and call; a transition only where the state differs from the one before;
--            a node that has a verdict is not suspected
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: arrivals
-- include: phi
-- include: state
-- include: maintenance
-- include: transition
-- include: leading
local heartbeats, node_prefix, history_prefix, spells_prefix = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local transitions, totals, repeats, leader, suspects, flapping = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local client_id, sequence = ARGV[1], ARGV[2]
local timeout_ms, max_history, max_transitions, orphan_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
local form, term, threshold = ARGV[7], ARGV[9], tonumber(ARGV[10])
local overdue_share, overdue_phi, note = tonumber(ARGV[11]), tonumber(ARGV[12]), ARGV[13]
local FIRST_NODE = 14
local MAX_SPELLS = 1000
local HELD_TIMEOUTS = 10 -- a verdict holds until the next check, for this many timeouts at most
local SLOW_TIMEOUTS = 20 -- four gaps within this many timeouts are slow rounds, not outages of the server

local server_now = now_ms()
local now = ARGV[8] ~= '' and tonumber(ARGV[8]) or server_now
local before = recall(repeats, server_now, client_id, sequence)
if before then return before end
local now_text = string.format('%.0f', now)

-- A term ends when another watch leads. A round ends when the server was down since its last step, since the nodes
-- could not send heartbeats either. Before since_ms no heartbeat could arrive. Each step of a round renews the lease.
local since, bound, prefix = -math.huge, -math.huge, ''
if term ~= '' then
  local known = redis.call('HMGET', leader, 'term', 'round_ms', 'gap_ms', 'since_ms', 'lease_ms', 'bound_ms')
  local step = known[1] == term and now - tonumber(known[2])
  if not step or step < 0 then return 'FENCED' end
  bound = tonumber(known[6] or nil) or bound
  if step > tonumber(known[3]) and now - bound > SLOW_TIMEOUTS * timeout_ms then return 'FENCED' end
  since = tonumber(known[4])
  redis.call('HSET', leader, 'round_ms', now_text, 'seen_ms', now_text,
    'until_ms', string.format('%.0f', now + tonumber(known[5])))
else
  local leading_ms, leading_threshold = leading_options(leader, server_now)
  if leading_ms then
    if leading_ms ~= timeout_ms then prefix = string.format('@%.17g\n', leading_ms) end
    timeout_ms, threshold = leading_ms, leading_threshold
  end
end

-- Return what is known of a node: by the registry's record or the caller's, whichever has the later heartbeat; the
-- caller's if they are equal. A heartbeat in the future counts as now.
local function find(id, given)
  local registered = redis.call('ZSCORE', heartbeats, id)
  local heartbeat = registered and tonumber(registered)
  if not heartbeat and given == '' then return nil end
  local record = {}
  if heartbeat then
    record = redis.call('HMGET', node_prefix .. ':' .. id, 'status', 'location', 'skew_ms', 'timeout_ms', 'maintenance')
  end
  local found = {
    id = id, registered = registered, heartbeat = heartbeat, status = record[1] or 'online', location = record[2] or '',
    skew = record[3] or '0', timeout_ms = tonumber(record[4] or nil) or timeout_ms, operator = record[5],
  }
  if given ~= '' then
    local claimed, status, location = string.match(given, '^(%-?%d+) (%l+) (.*)$')
    claimed = tonumber(claimed)
    if not heartbeat or math.min(claimed, now) >= heartbeat then
      found.heartbeat, found.status, found.location = claimed, status, location
      found.skew = string.format('%.0f', math.max(0, claimed - now))
    end
  end
  return found
end

-- Return from when heartbeats count as missing: from the end of the last gap, but for a node that sent none since the
-- bound (see leader_lease.lua). A heartbeat later than now was written before the server's clock was set back, so its
-- age is not known.
local function missing_since(node)
  local was_down = node.previous == '0'
  if term == '' or node.heartbeat <= now then
    return was_down and node.heartbeat or math.max(node.heartbeat, node.heartbeat < bound and bound or since)
  end
  return was_down and now - node.timeout_ms or since
end

-- Everything is read first, so that a key of another type fails before anything is written.
local latest = {}
local some_suspected = redis.call('HLEN', suspects) > 0

-- Add the verdict to what is known of a node.
local function decide(node)
  node.before = latest[node.id] or redis.call('LINDEX', history_prefix .. ':' .. node.id, 0) or ''
  node.previous = string.sub(node.before, 1, 1)
  node.suspected = some_suspected and tonumber(redis.call('HGET', suspects, node.id) or nil)
  node.maintained = node.status == 'maintenance' or is_maintained(node.operator, now)
  node.missing = math.max(0, now - missing_since(node))
  node.phi = threshold and phi(node_prefix .. ':' .. node.id, node.missing)
  local fresh = node.missing < node.timeout_ms and not (node.phi and node.phi >= threshold)
  node.up = node.previous ~= '0' and node.status ~= 'offline' and not node.maintained
  node.turning = node.up and not fresh
  node.deferred = form == 'watch' and node.turning
  node.age = math.max(0, now - node.heartbeat)
  node.flag = fresh and node.status ~= 'offline' and '1' or '0'
  node.mark = node.flag .. (node.maintained and 'm' or '')
  node.line = node.mark .. ' ' .. string.format('%.0f', node.age) .. ' ' .. now_text .. ' ' .. node.skew .. ' '
    .. node.status .. ' ' .. node.location
  if not node.deferred then latest[node.id] = node.line end
end

-- Find where the verdict changed, and where it was not known: from some timeouts after a check until the next.
local function find_spell(node)
  local mark, at = string.match(node.before, '^(%d%l?) %d+ (%d+)')
  local held_until = at and tonumber(at) + HELD_TIMEOUTS * node.timeout_ms
  local is_known = held_until and held_until >= now
  if is_known and mark == node.mark then return end
  node.spells = spells_prefix .. ':' .. node.id
  node.unknown_from = held_until and not is_known and string.format('%.0f', held_until)
  redis.call('LLEN', node.spells)
end

local function word(node)
  local text = (node.deferred and '?' or node.flag) .. string.format('%.0f', node.age)
  if VERDICTS[node.previous] and not node.deferred and node.flag ~= node.previous then text = text .. '!' end
  if form ~= 'watch' or not node.up then return text end
  local overdue = node.missing >= node.timeout_ms * overdue_share or (node.phi and overdue_phi and node.phi >= overdue_phi)
  return text .. '^' .. (overdue and '~' or '') .. (node.suspected and '%' or '')
end

local checked, words = {}, {}
for index = FIRST_NODE, #ARGV, 2 do
  local node = find(ARGV[index], ARGV[index + 1])
  if node then
    decide(node)
    if not node.deferred then
      find_spell(node)
      checked[#checked + 1] = node
    end
  end
  words[#words + 1] = node and (form == 'full' and node.line or word(node)) or '-'
end
local reply = prefix .. table.concat(words, ' ')
if #checked == 0 then return reply end
redis.call('XLEN', transitions)
redis.call('SCARD', flapping)

local function reason(node)
  local text = string.format('heartbeat %.1f s old, timeout %g s', node.age / 1000, node.timeout_ms / 1000)
  if node.phi then text = text .. string.format(', phi %.1f, threshold %g', node.phi, threshold) end
  if node.suspected then
    text = text .. string.format(', suspected for %.1f s', math.max(0, now - node.suspected) / 1000)
  end
  if node.turning then text = text .. note end
  if node.status ~= 'offline' and node.status ~= 'maintenance' then return text end
  return 'status is ' .. node.status .. ', ' .. text
end

-- A first verdict is written to the stream only where it is not healthy.
local written = {}
local function write_transition(node)
  local suspected = not written[node.id] and node.suspected
  local operator = not written[node.id] and node.operator
  if node.mark == string.match(node.before, '^%S+') and not suspected and not operator then return end
  local was = last_state(node.before, operator, suspected)
  local is = node.maintained and 'maintenance' or VERDICTS[node.flag]
  if operator and not is_maintained(operator, now) then redis.call('HDEL', node_prefix .. ':' .. node.id, 'maintenance') end
  if was == is or (was == 'unknown' and is == 'healthy') then return end
  append_transition(totals, transitions, max_transitions, {
    node = node.id, state = was == 'unhealthy' and is == 'healthy' and 'recovered' or is, previous = was, at = now_text,
    reason = reason(node), flapping = redis.call('SISMEMBER', flapping, node.id) == 1,
  })
  if suspected then redis.call('HDEL', suspects, node.id) end
  written[node.id] = true
end

local function write_spell(node)
  if node.unknown_from then redis.call('LPUSH', node.spells, node.unknown_from .. ' ?') end
  if redis.call('LPUSH', node.spells, now_text .. ' ' .. node.mark) > MAX_SPELLS then
    redis.call('LTRIM', node.spells, 0, MAX_SPELLS - 1)
  end
  if not node.registered then redis.call('PEXPIRE', node.spells, orphan_ms) end
end

redis.call('HINCRBY', totals, 'total_checks', #checked)
for _, node in ipairs(checked) do
  local history = history_prefix .. ':' .. node.id
  if redis.call('LPUSH', history, node.line) > max_history then
    redis.call('LTRIM', history, 0, max_history - 1)
  end
  if not node.registered then redis.call('PEXPIRE', history, orphan_ms) end
  if node.spells then write_spell(node) end
  write_transition(node)
end
remember(repeats, server_now, client_id, sequence, reply)
return reply
