-- Begin, change or end the maintenance of a registered node, apart from the status that the node reports.
-- KEYS[1] node             hash    the node's record
-- KEYS[2] history          list    the node's checks
-- KEYS[3] suspects         hash    node id -> suspected since
-- KEYS[4] transitions      stream  state changes
-- KEYS[5] totals           hash    counts
-- KEYS[6] repeats          prefix  the last call of each client id
-- ARGV[1] id               string
-- ARGV[2] duration_ms      number, '' for no end, '0' to end it
-- ARGV[3] reason           string
-- ARGV[4] max_transitions  integer, about how many the stream keeps
-- ARGV[5] now_ms           integer, or '' for the server's time
-- ARGV[6] client_id        string
-- ARGV[7] sequence         integer
-- Reply: '1' | '0' | '' | 'STALE': whether the node was in this maintenance; '' where it is not registered
-- Invariant: a beginning is one transition; the next check writes the end (see check_nodes.lua)
-- Layout: not created, since it only changes existing keys
-- Repeat: remembered, so that a repeated call neither ends what it has ended nor begins what another has ended
-- include: clock
-- include: idempotency
-- include: state
-- include: maintenance
-- include: transition
local node, history, suspects, transitions, totals, repeats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local id, duration, reason, max_transitions, client_id, sequence = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6], ARGV[7]
local server_now = now_ms()
local now = ARGV[5] ~= '' and tonumber(ARGV[5]) or server_now
local earlier = recall(repeats, server_now, client_id, sequence)
if earlier then return earlier end

local record = redis.call('HMGET', node, 'status', 'maintenance')
if not record[1] then return '' end
local before = is_maintained(record[2], now)
if duration == '0' then
  if before then redis.call('HSET', node, 'maintenance', '1 ended') end
  remember(repeats, server_now, client_id, sequence, before and '1' or '0')
  return before and '1' or '0'
end
local line = redis.call('LINDEX', history, 0) or ''
local was = last_state(line, record[2], redis.call('HGET', suspects, id))
redis.call('XLEN', transitions) -- a key of another type fails here, before anything is written
redis.call('HLEN', totals)

local until_ms = duration == '' and '0' or string.format('%.0f', math.max(2, now + tonumber(duration)))
redis.call('HSET', node, 'maintenance', until_ms .. ' ' .. reason)
redis.call('HDEL', suspects, id)
if was ~= 'maintenance' then
  append_transition(totals, transitions, max_transitions, {
    node = id, state = 'maintenance', previous = was, at = string.format('%.0f', now),
    reason = reason ~= '' and reason or 'set by an operator',
  })
end
remember(repeats, server_now, client_id, sequence, before and '1' or '0')
return before and '1' or '0'
