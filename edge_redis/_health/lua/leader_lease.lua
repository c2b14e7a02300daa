-- Take or keep the leader's lease, or stand by; and begin a round.
-- KEYS[1] leader    hash     holder, term, until_ms, lease_ms, seen_ms, round_ms, gap_ms, since_ms, mass_outage
-- ARGV[1] holder    string
-- ARGV[2] lease_ms  integer, the lease lasts this long from now
-- ARGV[3] gap_ms    integer, a longer pause between two calls means that the server was away, or that no watch ran
-- Reply: array of strings: term, or '0' for a stand-by; now and since, server ms; '1' during a mass outage
-- Invariant: one holder at a time; each term is higher than the one before
-- Repeat: idempotent, the holder stays the holder
-- include: clock
local leader, holder, lease_ms, gap_ms = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function text(number)
  return string.format('%.0f', number)
end

-- Return a stored number, or zero: a damaged field must not keep every watch from leading.
local function integer(word)
  return tonumber(word or '') or 0
end

local now = now_ms()
local known = redis.call('HMGET', leader, 'holder', 'term', 'until_ms', 'seen_ms', 'since_ms', 'mass_outage', 'lease_ms')
local term, seen, since = integer(known[2]), integer(known[4]), integer(known[5])

-- Any watch's call shows that the server was there. After a gap, heartbeats count as missing from the end of the gap
-- only; likewise where the clock was set back, since it is not known how long they were missing.
if now - seen > gap_ms or now < seen then since = now end
redis.call('HSET', leader, 'seen_ms', text(now), 'since_ms', text(since))

-- A lease that has longer to run than it was given for is from before the clock was set back.
local left = integer(known[3]) - now
if known[1] ~= holder then
  if known[1] and left > 0 and left <= (known[7] and integer(known[7]) or lease_ms) then
    return { '0', text(now), text(since), known[6] or '0' }
  end
  term = term + 1
end
redis.call('HSET', leader, 'holder', holder, 'term', text(term), 'until_ms', text(now + lease_ms),
  'lease_ms', text(lease_ms), 'round_ms', text(now), 'gap_ms', text(gap_ms))
return { text(term), text(now), text(since), known[6] or '0' }
