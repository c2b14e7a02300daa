-- Give an edge's store another id, as a clone of another edge needs it, and publish a hint to its workers.
-- KEYS[1] replica_id     string  the random id of this edge's store
-- KEYS[2] clone          string  the origin of a clone that was seen
-- ARGV[1] proposed_id    the beginning of the new id
-- Reply: string: the new id
-- Invariant: what waits in the outboxes keeps the origin that it was written with, which no other store writes under
-- Repeat: idempotent, a repeat gives yet another id
-- include: replica_id
-- include: hint_tag
-- include: edge_hint
local id = new_replica_id(ARGV[1]) .. RUN
redis.call('SET', KEYS[1], id)
redis.call('DEL', KEYS[2])
publish_edge_hint(KEYS[1])
return id
