-- Let the next edge that pushes with LOCAL_WINS be a scope's authority. Then publish a hint to the workers of all edges,
-- which names no change: those that the cloud refused try again.
-- KEYS[1] doc            hash    the scope's document in the cloud
-- KEYS[2] repeats        hash    prefix; the last call of each client id
-- ARGV[1] scope
-- ARGV[2] client_id
-- ARGV[3] call           integer, the number of the call
-- Reply: '1' | '0' | 'STALE': an edge was the authority; none was; the call was given up
-- Invariant: nothing else of the document changes
-- Layout: not created, since it only changes what is there
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: hint_tag
-- include: cloud_hint
local doc, repeats, client_id, call = KEYS[1], KEYS[2], ARGV[2], ARGV[3]
local at = now_ms()
local before = recall(repeats, at, client_id, call)
if before then return before end
local released = redis.call('HDEL', doc, 'authority') == 1 and '1' or '0'
remember(repeats, at, client_id, call, released)
if released == '1' then publish_cloud_hint(string.match(doc, '^[^}]*}'), ARGV[1], '') end
return released
