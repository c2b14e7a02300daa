-- Read which run of its server a shard is served by.
-- KEYS[1] scopes         hash    any key of the shard: it says which server is asked
-- Reply: string: the id of the run, '-' where the server gives none
-- Invariant: a server that took over for another one gives another id
-- Repeat: idempotent, reads
local info = redis.pcall('INFO', 'server')
return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or '-'
