-- Append an exchange with the other end to a scope's history.
-- Needs: integer
local function record(history, max_history, direction, version, success, message)
  redis.call('XADD', history, 'MAXLEN', max_history, '*', 'direction', direction,
    'version', integer(version), 'success', success, 'error', message)
end
