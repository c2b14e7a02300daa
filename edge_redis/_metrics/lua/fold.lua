-- Add up what a writer has left to be added, as much as one call may.
-- KEYS[1] generation  string  the generation; absent means 0
-- KEYS[2] root        prefix  of the generations' keys
-- ARGV[1] slot              string   the writer
-- ARGV[2] timeline_minutes  integer  how long minutes are kept
-- Reply: how many bodies it has left still; or {'CORRUPT', key} where what is stored was not
--   written by these scripts, and then nothing was written
-- Invariant: what is added is no longer left, and the reverse
-- Repeat: idempotent: it adds what is left, once
-- include: clock
-- include: numbers
-- include: series
-- include: fold
local timeline_minutes = tonumber(ARGV[2])
local root = current_root(KEYS[1], KEYS[2])
local log_key = root .. ':log:' .. ARGV[1]
local bodies = redis.call('LRANGE', log_key, 0, -1)
local function is_member(pair) return redis.call('SISMEMBER', root .. ':pairs', pair) == 1 end
local plan = plan_of(root, bodies, is_member, now_ms(), timeline_minutes, log_key)
if plan.corrupt then return {'CORRUPT', plan.corrupt} end
redis.call('SCARD', root .. ':logs') -- an error where it is no set
carry_out(plan)
redis.call('LTRIM', log_key, plan.taken, -1)
if plan.taken == #bodies then redis.call('SREM', root .. ':logs', ARGV[1]) end
return #bodies - plan.taken
