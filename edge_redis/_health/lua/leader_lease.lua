-- Take or keep the leader's lease, or stand by; and begin a round. In a shard other than the first one, the first one's
-- decision is taken over: a term that is not below any that was seen here.
-- KEYS[1] leader        hash     holder, term, until_ms, lease_ms; seen_ms, round_ms, gap_ms; since_ms, gap_ends, bound_ms;
--                                timeout_ms, threshold; mass_outage, mass_outage_since_ms
-- ARGV[1] holder        string
-- ARGV[2] lease_ms      integer, the lease lasts this long from now
-- ARGV[3] gap_ms        integer, a longer pause between two calls means that the server was down, or that no watch ran
-- ARGV[4] timeout_ms    number, the heartbeat timeout
-- ARGV[5] threshold     number, of phi, or '' where the timeout alone decides
-- ARGV[6] granted       integer, the term that the first shard granted, 0 to a stand-by; or '' in the first shard
-- ARGV[7] seen          integer, for the first shard: the highest term that another shard has refused a lower one for
-- Reply: [number, number, number, number, '1' | '0', '1' | '0']: term, 0 for a stand-by, or below 0 where a granted one
--        is refused for that term; now and since, server ms; since when a mass outage lasts, or 0; '1' where the watch
--        that leads has another timeout or threshold; '1' where gaps come so often that they are the rounds' own
-- Invariant: one holder at a time, and one for each term; each term is higher than the one before; four gap ends span a
--            timeout at least
-- Repeat: idempotent, the holder stays the holder
-- include: clock
local KEPT_ENDS = 4
local SLOW_TIMEOUTS = 20 -- four gaps within this many timeouts are rare rounds, not outages of the server
local leader, holder, lease_ms, gap_ms, timeout_ms = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local threshold, granted, least = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])

local function text(number)
  return string.format('%.0f', number)
end

-- Return a stored number, or zero: a damaged field must not keep every watch from leading.
local function integer(word)
  return tonumber(word or '') or 0
end

local now = now_ms()
local known = redis.call('HMGET', leader, 'holder', 'term', 'until_ms', 'lease_ms', 'seen_ms', 'gap_ms', 'since_ms',
  'gap_ends', 'timeout_ms', 'threshold', 'mass_outage', 'mass_outage_since_ms')
local term, seen, since = integer(known[2]), integer(known[5]), integer(known[7])

-- A lease with more time left than its duration was taken before the clock was set back: it does not count.
local left = integer(known[3]) - now
local stands_by = known[1] and known[1] ~= holder and left > 0
  and left <= (known[4] and integer(known[4]) or lease_ms)
-- The first shard lost data where it grants a term that another holder has had here.
local is_refused = granted and granted > 0 and (granted < term or granted == term and known[1] ~= holder)
if granted then stands_by = granted == 0 or is_refused end
-- The leader decides what a gap is: a stand-by with a shorter interval must not see gaps where there are none.
local gap_limit = stands_by and known[6] and integer(known[6]) or gap_ms
local timeout = stands_by and known[9] and integer(known[9]) or tonumber(timeout_ms)

-- Each call of a watch shows that the server is up. After a gap, heartbeats count as missing only from its end; also
-- after the clock was set back, since it is not known how long they were missing. If rounds were always rarer than the
-- gap, this would defer every verdict for ever. So gap ends at least a third of the timeout apart are kept, and a node
-- without a heartbeat since the fourth newest of them counts as missing since then (see check_nodes.lua).
local ends = {}
for word in string.gmatch(known[8] or '', '%d+') do
  if #ends < KEPT_ENDS then ends[#ends + 1] = math.min(now, tonumber(word)) end
end
since = math.min(since, now)
if now - seen > gap_limit or now < seen then
  since = now
  if not ends[1] or now - ends[1] >= timeout / 3 then table.insert(ends, 1, now) end
end
local words = {}
for index = 1, math.min(KEPT_ENDS, #ends) do words[index] = text(ends[index]) end
redis.call('HSET', leader, 'seen_ms', text(now), 'since_ms', text(since), 'gap_ends', table.concat(words, ' '),
  'bound_ms', words[KEPT_ENDS] or '')

local is_slow = words[KEPT_ENDS] and now - ends[KEPT_ENDS] <= SLOW_TIMEOUTS * timeout and '1' or '0'
local outage = known[11] == '1' and text(math.max(1, integer(known[12]))) or '0'
if stands_by then
  local differs = known[9] and (integer(known[9]) ~= tonumber(timeout_ms) or (known[10] or '') ~= threshold)
  local refusing = is_refused and text(-term) or '0'
  return { refusing, text(now), text(since), outage, differs and '1' or '0', is_slow }
end
if granted then
  term = granted
elseif known[1] ~= holder or term <= least then
  term = math.max(term, least) + 1
end
redis.call('HSET', leader, 'holder', holder, 'term', text(term), 'until_ms', text(now + lease_ms),
  'lease_ms', text(lease_ms), 'round_ms', text(now), 'gap_ms', text(gap_ms), 'timeout_ms', timeout_ms,
  'threshold', threshold)
return { text(term), text(now), text(since), outage, '0', is_slow }
