-- List the scopes of a feed that nothing is written to any more, with their numbers, in their order.
-- KEYS[1] feed           zset    scope -> the number of its newest change
-- ARGV[1] after          integer, a number
-- ARGV[2] count          integer, the most scopes
-- Reply: [string...]: scope and number, in turn
-- Invariant: the next page begins after the last number of this one
-- Repeat: idempotent, only reads
local page = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 2, #page, 2 do page[i] = string.format('%.0f', tonumber(page[i])) end
return page
