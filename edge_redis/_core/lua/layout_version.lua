-- Return the layout version of a shard, set it where there is none if asked to, and check the user's rights.
-- KEYS[1] layout   string   the version
-- ARGV[1] version  integer  the version that the caller writes
-- ARGV[2] creates  0 or 1   whether to set it where there is none
-- ARGV[3..] commands  string  what the caller's script may run, such as `HSET` or `XGROUP CREATE`
-- Reply: string | nil: the stored version, nil where there is none
-- Invariant: a stored version is never changed
-- Repeat: idempotent
local may_run = redis.acl_check_cmd -- fakeredis has no users, and no such function
-- Every argument is a key of ours: some commands, such as DEL, take all arguments for keys, and users may be restricted
-- to our keys.
for at = 3, #ARGV do
  local command, sub = string.match(ARGV[at], '^(%S+) ?(%S*)$')
  local is_allowed = true
  if may_run and sub ~= '' then is_allowed = may_run(command, sub, KEYS[1], KEYS[1], KEYS[1]) end
  if may_run and sub == '' then is_allowed = may_run(command, KEYS[1], KEYS[1], KEYS[1]) end
  if not is_allowed then return redis.error_reply('NOPERM this user may not run ' .. ARGV[at]) end
end
local found = redis.call('GET', KEYS[1])
if found or ARGV[2] == '0' then return found end
-- A server that refuses this write (no memory, a replica) refuses the caller's own write too, with its reason.
redis.pcall('SET', KEYS[1], ARGV[1])
return ARGV[1]
