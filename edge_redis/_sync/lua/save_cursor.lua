-- Save how far an edge has read the cloud's feed, unless the edge has lost its data since.
-- KEYS[1] replica_id     string  the random id of this edge's store
-- KEYS[2] cursor         string  its position in the feed
-- ARGV[1] replica_id     of the edge that applied the states up to the new cursor
-- ARGV[2] previous       the cursor before
-- ARGV[3] cursor         the new cursor
-- ARGV[4] sources        of so many shards, whose scopes were moved to this one, the caller knows
-- ARGV[5] digest         of the patterns of the worker, '' where it carries all scopes
-- Reply: integer: 1, or 0 where the edge has another id or another cursor by now, or scopes that the caller did not know of
-- Invariant: every state before the cursor has been applied in this incarnation of the edge
-- Repeat: idempotent, the previous cursor no longer matches
if redis.call('GET', KEYS[1]) ~= ARGV[1] or (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then return 0 end
local tag = string.match(KEYS[1], '^[^}]*}')
if (tonumber(redis.call('HGET', tag .. ':received', 'done') or 0) or 0) > tonumber(ARGV[4]) then return 0 end
if ARGV[5] ~= '' and ARGV[2] == '' then redis.call('SADD', tag .. ':cursors', ARGV[5]) end
redis.call('DEL', KEYS[2]) -- a first write that needs no memory, see lease_entries.lua
redis.call('SET', KEYS[2], ARGV[3])
return 1
