-- Remembers the last call of each slot in two hashes by time, each gone on its own.
local REPEATS_BUCKET_MS = 3600000

local function repeats_key(prefix, bucket)
  return prefix .. ':' .. string.format('%.0f', bucket)
end

-- The reply of this very call where it ran before, else nil. A number below the last one
-- belongs to a call that was given up long ago: nobody waits for it, and it must not run.
local function recall(prefix, at_ms, slot, number)
  local bucket = math.floor(at_ms / REPEATS_BUCKET_MS)
  local seen = redis.call('HGET', repeats_key(prefix, bucket), slot)
    or redis.call('HGET', repeats_key(prefix, bucket - 1), slot)
  if not seen then return nil end
  local colon = string.find(seen, ':', 1, true)
  local last = tonumber(string.sub(seen, 1, colon - 1))
  if last < tonumber(number) then return nil end
  if last > tonumber(number) then return 'STALE' end
  return string.sub(seen, colon + 1)
end

local function remember(prefix, at_ms, slot, number, reply)
  local key = repeats_key(prefix, math.floor(at_ms / REPEATS_BUCKET_MS))
  -- A slot's first call in an hour is soon enough: the hash is read for the hour after its own, no longer.
  if redis.call('HSET', key, slot, number .. ':' .. reply) == 1 then
    redis.call('PEXPIRE', key, 2 * REPEATS_BUCKET_MS)
  end
end
