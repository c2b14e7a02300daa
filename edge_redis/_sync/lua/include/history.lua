-- Append an exchange with the other end to a scope's history.
local function record(history, max_history, direction, version, success, message)
  redis.call('XADD', history, 'MAXLEN', max_history, '*', 'direction', direction,
    'version', string.format('%.0f', version), 'success', success, 'error', message)
end
