-- Add up a writer's write-ahead logs, as much of them as one call may.
-- KEYS[1] epoch  string  the current epoch; absent means 0
-- KEYS[2] root   prefix  of the epochs' keys
-- ARGV[1] writer            string
-- ARGV[2] timeline_minutes  integer  how long minutes are kept
-- Reply: integer | ['CORRUPT', string]: how many bodies are left in the logs; or the key that does not hold
--   what these scripts write, and then nothing was written
-- Invariant: a body is in a log or added, never both
-- Layout: not created, since it only changes what is there
-- Repeat: idempotent: each body in a log is added once
-- include: clock
-- include: numbers
-- include: epoch
-- include: log_keys
-- include: compaction
local writer, timeline_minutes = ARGV[1], tonumber(ARGV[2])
local root = current_root(KEYS[1], KEYS[2])
redis.call('SCARD', root .. ':pairs') -- an error where it is no set
local logs = {}
for number = 0, LOGS - 1 do logs[#logs + 1] = open_log(root, writer, number) end
local function is_member(pair) return redis.call('SISMEMBER', root .. ':pairs', pair) == 1 end
local plan = plan_compaction(root, logs, MAX_WORK, is_member, now_ms(), timeline_minutes)
if plan.corrupt then return {'CORRUPT', plan.corrupt} end
redis.call('SCARD', root .. ':writers') -- an error where it is no set
apply_plan(plan)
local left = 0
for _, log in ipairs(logs) do
  save_log(log)
  left = left + log.stored - log.taken
end
save_writer(root, writer)
return left
