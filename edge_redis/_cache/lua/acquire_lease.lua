-- Read an entry that was missed or is stale, or take the lease to compute it.
-- KEYS[1] prefix      string   of every key of the shard (see keys.py)
-- ARGV[1] key         string   entry key
-- ARGV[2] token       string   of the caller; it ends with a dash and the duration of its lease in ms
-- ARGV[3] lease_ms    integer  duration of the lease
-- ARGV[4] ahead_ms    integer  how long before it is stale an entry is computed anew; -1 to accept a stale one
-- ARGV[5] waited_for  string   token of the lease that the caller has waited for, else empty
-- Reply: [string | nil, integer, string, string | nil, string]: raw value; 1 where the caller holds the lease;
--   the epoch; the error of the computation that the caller waited for, or that is kept for all; the holder
-- Invariant: at most one token holds the lease of a key
-- Repeat: idempotent: the token holds the lease already
-- include: clock
local PREFIX, ENTRY, TOKEN = KEYS[1], ARGV[1], ARGV[2]
-- include: leases
local VALUE, STATS, HEADER, COMPUTED = PREFIX .. ':v:' .. ENTRY, PREFIX .. ':stats', 23, 11 -- as in index.lua

-- Whether a value is to be used rather than computed anew (see entry.py for its bytes).
local function is_fresh(value, ahead_ms)
  local left = redis.call('PTTL', VALUE)
  if left < 0 or ahead_ms < 0 then return true end
  local stale_ms = 0
  if string.byte(value, HEADER + 1) == 193 then
    for at = HEADER + 6, HEADER + COMPUTED do stale_ms = stale_ms * 256 + string.byte(value, at) end
  end
  return left > stale_ms + ahead_ms
end

local value = redis.call('GET', VALUE)
local cleared, invalidated = unpack(redis.call('HMGET', STATS, 'cleared', 'invalidated'))
local function epoch()
  return (cleared or '0') .. ' ' .. (invalidated or '0')
end

if value and is_fresh(value, tonumber(ARGV[4])) then return {value, 0, epoch(), false, ''} end
local lease = redis.call('GET', lease_of(ENTRY)) or ''
local failed, is_for_all, failure = string.match(lease, '^!(%S*) (%d) (.*)$')
if failed and (is_for_all == '1' or failed == ARGV[5]) then
  return {value, 0, epoch(), not value and failure, ''}
end
if lease ~= '' and not failed and not is_held_by(lease, TOKEN) then
  if not value and string.sub(lease, -1) ~= '+' then
    lease = lease .. '+'
    redis.call('SET', lease_of(ENTRY), lease, 'XX', 'KEEPTTL') -- tells the holder that others wait
  end
  local duration = string.match(lease, '-(%d+)%+?$')
  if duration and redis.call('PTTL', lease_of(ENTRY)) > tonumber(duration) then -- the server's clock was put back
    redis.call('PEXPIRE', lease_of(ENTRY), duration)
  end
  return {value, 0, epoch(), false, string.match(lease, '^[^+]*')}
end
redis.call('SET', lease_of(ENTRY), TOKEN, 'PX', ARGV[3])
if not cleared then
  cleared = string.format('%.0f', now_ms()) -- named by the time, so that it differs after the server has lost its data
  redis.call('HSET', STATS, 'cleared', cleared)
end
return {value, 1, epoch(), false, TOKEN}
