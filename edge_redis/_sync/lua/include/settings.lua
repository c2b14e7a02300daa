-- The settings of a scope at an edge: strategy, max_pending, overflow and origin, a space between each. A strategy
-- that begins with `?` was adopted by a worker; the first write of a synchronizer sets it. Damaged settings count as missing.

local STRATEGIES = {remote_wins = true, local_wins = true, latest_wins = true, merge = true}

-- Whether the strategy was set by a synchronizer, and its name; nil if the settings are missing or damaged.
local function read_strategy(settings)
  local adopted, name = string.match(settings or '', '^(%??)([a-z_]+) %d+ %S+ ')
  if not STRATEGIES[name] then return nil end
  return adopted == '', name
end

-- The strategy that a synchronizer has set, if it differs from this one; else nil.
local function other_strategy(known_settings, strategy)
  local is_set, known = read_strategy(known_settings)
  return is_set and known ~= strategy and known or nil
end

-- The settings by which a worker applies states: those that a synchronizer has set, else by the strategy of the feed.
-- LOCAL_WINS is not adopted: it is the authority of the edge that claimed it, whose states all other edges accept.
local function adopt_settings(known_settings, feed_strategy)
  local is_set, known = read_strategy(known_settings)
  if is_set then return known_settings end
  local strategy = STRATEGIES[feed_strategy] and feed_strategy or known or 'remote_wins'
  return '?' .. (strategy == 'local_wins' and 'remote_wins' or strategy) .. ' 100 coalesce '
end
