-- Add up a writer's write-ahead log, as much of it as one call may.
-- KEYS[1] epoch  string  the current epoch; absent means 0
-- KEYS[2] root   prefix  of the epochs' keys
-- ARGV[1] writer            string
-- ARGV[2] timeline_minutes  integer  how long minutes are kept
-- Reply: integer | ['CORRUPT', string]: how many bodies are left in the log; or the key that does not hold
--   what these scripts write, and then nothing was written
-- Invariant: a body is in the log or added, never both
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent: each body in the log is added once
-- include: clock
-- include: numbers
-- include: epoch
-- include: compaction
local timeline_minutes = tonumber(ARGV[2])
local root = current_root(KEYS[1], KEYS[2])
local wal_key = root .. ':wal:' .. ARGV[1]
local bodies = redis.call('LRANGE', wal_key, 0, -1)
local function is_member(pair) return redis.call('SISMEMBER', root .. ':pairs', pair) == 1 end
local plan = plan_compaction(root, bodies, is_member, now_ms(), timeline_minutes, wal_key)
if plan.corrupt then return {'CORRUPT', plan.corrupt} end
redis.call('SCARD', root .. ':writers') -- an error where it is no set
apply_plan(plan)
redis.call('LTRIM', wal_key, plan.taken, -1)
if plan.taken == #bodies then redis.call('SREM', root .. ':writers', ARGV[1]) end
return #bodies - plan.taken
