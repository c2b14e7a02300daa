-- Take the watch, keep it, or stand by; and begin a round of it.
-- KEYS[1] duty          hash     holder, fence, until_ms, lease_ms, seen_ms, round_ms, gap_ms, since_ms, silence
-- ARGV[1] holder        string
-- ARGV[2] lease_ms      integer, the watch is held this long from now
-- ARGV[3] gap_ms        integer, with nobody seen for longer the server was away, or nobody watched
-- Reply: array of strings: fence, or '0' for standing by; now and since, server ms; '1' while a silence of many is on
-- Invariant: one holder at a time; each turn has a higher fence than the one before
-- Repeat: idempotent, the holder stays the holder
-- include: clock
local duty, holder, lease_ms, gap_ms = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function text(number)
  return string.format('%.0f', number)
end

-- What is there, or zero: a damaged word must not keep everybody from watching.
local function integer(word)
  return tonumber(word or '') or 0
end

local now = now_ms()
local known = redis.call('HMGET', duty, 'holder', 'fence', 'until_ms', 'seen_ms', 'since_ms', 'silence', 'lease_ms')
local fence, seen, since = integer(known[2]), integer(known[4]), integer(known[5])

-- Any monitor's call shows that the server was there. After a gap nobody is blamed for what nobody could hear;
-- nor where the clock was set back, since it is not known how long anybody was silent.
if now - seen > gap_ms or now < seen then since = now end
redis.call('HSET', duty, 'seen_ms', text(now), 'since_ms', text(since))

-- A lease that has longer to run than it was given for is from before the clock was set back.
local left = integer(known[3]) - now
if known[1] ~= holder then
  if known[1] and left > 0 and left <= (known[7] and integer(known[7]) or lease_ms) then
    return { '0', text(now), text(since), known[6] or '0' }
  end
  fence = fence + 1
end
redis.call('HSET', duty, 'holder', holder, 'fence', text(fence), 'until_ms', text(now + lease_ms),
  'lease_ms', text(lease_ms), 'round_ms', text(now), 'gap_ms', text(gap_ms))
return { text(fence), text(now), text(since), known[6] or '0' }
