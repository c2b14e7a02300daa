-- Idempotency keys: the last sequence and reply of each client id, in one hash an hour, which expires by itself.
local REPEATS_BUCKET_MS = 3600000

local function repeats_key(prefix, bucket)
  return prefix .. ':' .. string.format('%d', bucket)
end

-- Return the reply of this call if it ran before, else nil. A sequence below the last one belongs to a call
-- that its caller has given up: it must not run, and gets STALE. A repeat writes an expiry, so that a WAIT after it has
-- a write to wait for: WAIT covers only the writes of its own connection, and a repeat may come on another connection.
local function recall(prefix, at_ms, client_id, sequence)
  local bucket = math.floor(at_ms / REPEATS_BUCKET_MS)
  local key = repeats_key(prefix, bucket)
  local seen = redis.call('HGET', key, client_id)
  if not seen then
    key = repeats_key(prefix, bucket - 1)
    seen = redis.call('HGET', key, client_id)
  end
  if not seen then return nil end
  local last = tonumber(string.match(seen, '^(%d+):'))
  if not last or last < tonumber(sequence) then return nil end -- not last: a damaged record, which is replaced
  if last > tonumber(sequence) then return 'STALE' end
  redis.call('PEXPIRE', key, 2 * REPEATS_BUCKET_MS)
  return string.match(seen, '^%d+:(.*)$')
end

local function remember(prefix, at_ms, client_id, sequence, reply)
  local key = repeats_key(prefix, math.floor(at_ms / REPEATS_BUCKET_MS))
  -- Setting the expiry at a client id's first call in the hour is enough: the hash is read in its own hour
  -- and in the next one only.
  if redis.call('HSET', key, client_id, sequence .. ':' .. reply) == 1 then
    redis.call('PEXPIRE', key, 2 * REPEATS_BUCKET_MS)
  end
end
