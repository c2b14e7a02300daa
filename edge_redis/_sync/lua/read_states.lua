-- Read the present states of scopes for a reader that holds other states of them.
-- KEYS[1] feed           zset    scope -> the number of its newest change, `<tag>:feed`; the documents have its tag
-- ARGV[1] max_bytes      integer, of bodies, after which no further state is read; one state at least
-- ARGV[2..] scopes       the beginning of the checksum of the state that the reader holds, '' for none, a space, the scope
-- Reply: [string...]: of the first scopes, as many as fit, their states, as in include/feed_state.lua
-- Invariant: a reader that holds a state gets splices only where they lead from it to the present one; a closed shard is
--   not read (_core/lua/moved.lua), or a scope that was moved after its head was read would count as purged
-- Repeat: idempotent, only reads
-- include: splice
-- include: kept_splices
-- include: feed_state
local tag = string.match(KEYS[1], '^[^}]*}')
local max_bytes, reply, bytes = tonumber(ARGV[1]), {}, 0
for i = 2, #ARGV do
  if bytes >= max_bytes then break end
  local held, scope = string.match(ARGV[i], '^(%S*) (.*)$')
  local state, size = read_feed_state(tag .. ':doc:' .. scope, held, '')
  reply[#reply + 1], bytes = state, bytes + size
end
return reply
