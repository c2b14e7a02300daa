-- Read the history by which the flapping and the availability of a node are computed.
-- KEYS[1] history   list    the node's checks, newest first
-- KEYS[2] spells    list    the node's changes of verdict, newest first
-- KEYS[3] flapping  set     ids of the nodes that flap
-- KEYS[4] leader    hash    see leader_lease.lua
-- ARGV[1] id        string, or '' where it is not asked whether the node flaps and a watch leads
-- ARGV[2] limit     integer, checks at most
-- ARGV[3] now_ms    integer, or '' for the server's time
-- Reply: [number, '1' | '0', '1' | '0', [string...], [string...]]: now, server ms; whether the node flaps and whether a
--        watch leads, where it is asked; checks, newest first; changes, newest first
-- Invariant: nothing is written
-- Repeat: idempotent, it only reads
-- include: clock
-- include: leading
local server_now = now_ms()
local flaps, led = false, false
if ARGV[1] ~= '' then
  flaps = redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1
  led = leading_options(KEYS[4], server_now) ~= nil
end
return {
  ARGV[3] ~= '' and ARGV[3] or string.format('%.0f', server_now), flaps and '1' or '0', led and '1' or '0',
  redis.call('LRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1), redis.call('LRANGE', KEYS[2], 0, -1),
}
