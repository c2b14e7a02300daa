-- The scores of the index of scopes with changes in their outbox (outbox.lua).
-- Needs: integer

-- So much less is the score of an urgent scope than that of another one since the same time: urgent ones come first.
local URGENT_MS = 10000000000000

-- In ms. A scope's clock may be ahead of the time: with a score in the future it would never be served.
local function waiting_since(clock, at)
  local clock_ms = tonumber(string.match(clock, '^%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d') or '0')
  return math.min(clock_ms, at)
end

local function score_of(since, is_urgent)
  return integer(is_urgent and since - URGENT_MS or since)
end
