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
-- Reply: string: full: the history's line; brief and watch: a word a node with marks (! ? ^ ~ % -), separated by
--        spaces; before all '@<timeout_ms>' and a newline where the watch that leads has another timeout; 'FENCED' where
--        the term or its round is over. The table in verdicts.py says what each mark means
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
-- include: spells
-- include: verdict_reason
local heartbeats, node_prefix, history_prefix, spells_prefix = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local transitions, totals, repeats, leader, suspects, flapping = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local client_id, sequence = ARGV[1], ARGV[2]
local timeout_ms, max_history, max_transitions, orphan_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
local form, term, threshold = ARGV[7], ARGV[9], tonumber(ARGV[10])
local overdue_share, overdue_phi, note = tonumber(ARGV[11]), tonumber(ARGV[12]), ARGV[13]
local FIRST_NODE = 14
local max, format, sub = math.max, string.format, string.sub
local SLOW_TIMEOUTS = 20 -- four gaps within this many timeouts are slow rounds, not outages of the server

local server_now = now_ms()
local now = ARGV[8] ~= '' and tonumber(ARGV[8]) or server_now
local before = recall(repeats, server_now, client_id, sequence)
if before then return before end
local now_text = format('%.0f', now)

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
    'until_ms', format('%.0f', now + tonumber(known[5])))
else
  local leading_ms, leading_threshold = leading_options(leader, server_now)
  if leading_ms then
    if leading_ms ~= timeout_ms then prefix = format('@%.17g\n', leading_ms) end
    timeout_ms, threshold = leading_ms, leading_threshold
  end
end

-- Return what is known of a node: by the registry's record or the caller's, whichever has the later heartbeat; the
-- caller's if they are equal. A heartbeat in the future counts as now.
local NO_RECORD = {}
local function find(id, given)
  local registered = redis.call('ZSCORE', heartbeats, id)
  if not registered and given == '' then return nil end
  local record = registered and redis.call('HMGET', node_prefix .. ':' .. id, 'status', 'location', 'skew_ms',
    'timeout_ms', 'maintenance') or NO_RECORD
  local heartbeat, status, location, skew = tonumber(registered or nil), record[1], record[2], record[3]
  if given ~= '' then
    local claimed, claimed_status, claimed_location = string.match(given, '^(%-?%d+) (%l+) (.*)$')
    claimed = tonumber(claimed)
    if not heartbeat or math.min(claimed, now) >= heartbeat then
      heartbeat, status, location = claimed, claimed_status, claimed_location
      skew = format('%.0f', max(0, claimed - now))
    end
  end
  return heartbeat, status or 'online', location or '', skew or '0', registered, to_timeout(record[4]) or timeout_ms,
    record[5]
end

-- Return from when heartbeats count as missing: from the end of the last gap, but for a node that sent none since the
-- bound (see leader_lease.lua). A heartbeat later than now was written before the server's clock was set back, so its
-- age is not known.
local function missing_since(heartbeat, was_down, own_timeout)
  if term == '' or heartbeat <= now then
    return was_down and heartbeat or max(heartbeat, heartbeat < bound and bound or since)
  end
  return was_down and now - own_timeout or since
end

-- Everything is read first, so that a key of another type fails before anything is written.
local latest = {}
local some_suspected = redis.call('HLEN', suspects) > 0

-- Return the node with its verdict, the word for it in the reply, and whether the verdict is deferred.
local function decide(id, given)
  local heartbeat, status, location, skew, registered, own_timeout, operator = find(id, given)
  if not heartbeat then return nil, '-', true end
  local last_line = latest[id] or redis.call('LINDEX', history_prefix .. ':' .. id, 0) or ''
  local previous = sub(last_line, 1, 1)
  local suspected = some_suspected and tonumber(redis.call('HGET', suspects, id) or nil)
  local maintained = status == 'maintenance' or operator and is_maintained(operator, now)
  local missing = max(0, now - missing_since(heartbeat, previous == '0', own_timeout))
  local doubt = threshold and phi(node_prefix .. ':' .. id, missing)
  local fresh = missing < own_timeout and not (doubt and doubt >= threshold)
  local up = previous ~= '0' and status ~= 'offline' and not maintained
  local deferred = form == 'watch' and up and not fresh
  local flag = fresh and status ~= 'offline' and '1' or '0'
  local mark = maintained and flag .. 'm' or flag
  local age = max(0, now - heartbeat)
  local age_text = format('%.0f', age)
  local line = mark .. ' ' .. age_text .. ' ' .. now_text .. ' ' .. skew .. ' ' .. status .. ' ' .. location
  local word = line
  if form ~= 'full' then
    word = (deferred and '?' or flag) .. age_text
    if VERDICTS[previous] and not deferred and flag ~= previous then word = word .. '!' end
    if form == 'watch' and up then
      local overdue = missing >= own_timeout * overdue_share or (doubt and overdue_phi and doubt >= overdue_phi)
      word = word .. '^' .. (overdue and '~' or '') .. (suspected and '%' or '')
    end
  end
  if not deferred then latest[id] = line end
  return {
    id = id, registered = registered, status = status, operator = operator, timeout_ms = own_timeout, before = last_line,
    suspected = suspected, maintained = maintained, phi = doubt, turning = up and not fresh, age = age, flag = flag,
    mark = mark, line = line, spell = nil, may_change = false,
  }, word, deferred
end

local checked, words, some_may_change = {}, {}, false
for index = FIRST_NODE, #ARGV, 2 do
  local node, word, deferred = decide(ARGV[index], ARGV[index + 1])
  if not deferred then
    local mark_before
    mark_before, node.spell = find_spell(node.before, node.mark, now, node.timeout_ms)
    if node.spell then redis.call('LLEN', spells_prefix .. ':' .. node.id) end
    -- A suspicion and a maintenance that an operator set are newer than the last line.
    node.may_change = node.mark ~= mark_before or node.suspected or node.operator
    some_may_change = some_may_change or node.may_change
    checked[#checked + 1] = node
  end
  words[#words + 1] = word
end
local reply = prefix .. table.concat(words, ' ')
if #checked == 0 then return reply end
redis.call('XLEN', transitions)
if some_may_change then redis.call('SCARD', flapping) end

-- A first verdict is written to the stream only where it is not healthy.
local written = {}
local function write_transition(node)
  local suspected = not written[node.id] and node.suspected
  local operator = not written[node.id] and node.operator
  local was = last_state(node.before, operator, suspected)
  local is = node.maintained and 'maintenance' or VERDICTS[node.flag]
  if operator and not is_maintained(operator, now) then redis.call('HDEL', node_prefix .. ':' .. node.id, 'maintenance') end
  if was == is or (was == 'unknown' and is == 'healthy') then return end
  append_transition(totals, transitions, max_transitions, {
    node = node.id, state = was == 'unhealthy' and is == 'healthy' and 'recovered' or is, previous = was, at = now_text,
    reason = verdict_reason(node, now, threshold, note), flapping = redis.call('SISMEMBER', flapping, node.id) == 1,
  })
  if suspected then redis.call('HDEL', suspects, node.id) end
  written[node.id] = true
end

if type(redis.pcall('HINCRBY', totals, 'total_checks', #checked)) ~= 'number' then
  redis.call('HSET', totals, 'total_checks', #checked) -- a damaged count must not end all checks
end
for _, node in ipairs(checked) do
  local history = history_prefix .. ':' .. node.id
  if redis.call('LPUSH', history, node.line) > max_history then
    redis.call('LTRIM', history, 0, max_history - 1)
  end
  if not node.registered then redis.call('PEXPIRE', history, orphan_ms) end
  if node.spell then
    local spells = spells_prefix .. ':' .. node.id
    write_spell(spells, node.spell)
    if not node.registered then redis.call('PEXPIRE', spells, orphan_ms) end
  end
  if node.may_change then write_transition(node) end
end
remember(repeats, server_now, client_id, sequence, reply)
return reply
