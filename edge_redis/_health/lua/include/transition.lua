-- Append a transition. Each has a number, one higher than the last, so that a reader notices what the cap removed.
-- A damaged count starts again at one.
local function append_transition(totals, transitions, max_transitions, change)
  local number = (tonumber(redis.call('HGET', totals, 'transitions') or nil) or 0) + 1
  local text = string.format('%.0f', number)
  redis.call('HSET', totals, 'transitions', text)
  redis.call('XADD', transitions, 'MAXLEN', '~', max_transitions, '*', 'node', change.node, 'state', change.state,
    'previous', change.previous, 'at', change.at, 'reason', change.reason, 'number', text,
    'flapping', change.flapping and '1' or '0')
end
