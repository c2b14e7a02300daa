-- The most frequent put: one entry with a TTL and without tags in a consistent cache. It runs before the definitions that
-- it does not need, which halves its cost. Any other put is left, untouched, to the rest of the script.
-- Needs: ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], KEYS[1], now_ms, recall, remember
local max_size, max_bytes, is_verified, config = string.match(ARGV[3], '^(%d+) (%d+) (%d) (.*)$')
max_size, max_bytes = tonumber(max_size), tonumber(max_bytes)
local began = now_ms()

local answered = recall(KEYS[1] .. ':repeats', began, ARGV[1], ARGV[2])
if answered then return answered end

if #ARGV == 8 and max_bytes == 0 and ARGV[4] == '' and ARGV[5] == '' and ARGV[7] ~= '0'
  and string.sub(config, 1, 8) ~= 'adaptive' then
  local key, values = ARGV[6], KEYS[1] .. ':v:'
  local expiry, counts, stats = KEYS[1] .. ':expiry', KEYS[1] .. ':counts', KEYS[1] .. ':stats'
  local known = redis.call('HMGET', stats, 'config', 'announce_until', 'sequence', 'evictions')
  local rows = redis.call('ZCARD', expiry)
  local first = redis.call('ZRANGE', expiry, 0, 0, 'WITHSCORES')
  if known[1] == config and known[3] and not (known[2] and tonumber(known[2]) > began)
    and rows <= max_size and rows == redis.call('ZCARD', counts)
    and (not first[2] or tonumber(first[2]) >= began)
    and redis.call('HLEN', KEYS[1] .. ':tagged') == 0 then
    redis.call('STRLEN', values .. key) -- fails where it is not a string, before anything is written
    local sequence, evictions = known[3] + 1, tonumber(known[4] or '0')
    local ends = string.format('%.0f', began + ARGV[7])
    local is_new = redis.call('ZADD', expiry, ends, key) == 1
    if is_new and rows == max_size then
      local victim = redis.call('ZPOPMIN', counts)[1]
      redis.call('ZREM', expiry, victim)
      if redis.call('DEL', values .. victim) == 1 then
        evictions = evictions + 1
      else
        redis.call('HINCRBY', stats, 'repaired', 1)
      end
    end
    redis.call('HSET', stats, 'sequence', string.format('%.0f', sequence), 'evictions', string.format('%.0f', evictions))
    local generation = sequence % 8589934592
    redis.call('SET', values .. key, string.format('%010.0f%013.0f', generation, began) .. ARGV[8], 'PXAT', ends)
    -- As first_score in order.lua.
    local score = string.sub(config, 1, 3) == 'lru' and sequence % 68719476736 * 131072 or generation
    redis.call('ZADD', counts, string.format('%.0f', score), key)
    redis.call('SET', KEYS[1] .. ':lease:' .. key, '', 'XX', 'KEEPTTL') -- as void_lease in leases.lua
    remember(KEYS[1] .. ':repeats', began, ARGV[1], ARGV[2], '1 0')
    return '1 0'
  end
end
