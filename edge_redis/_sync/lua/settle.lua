-- Put in place of a scope's document what was merged of it and of states of the other end.
-- KEYS[1] doc            hash    the scope's document
-- KEYS[2] history        stream  capped
-- KEYS[3] scopes         hash    each scope's settings (edge)
-- KEYS[4] changes        zset    the feed (cloud)
-- KEYS[5] sequence       string  the feed's last number (cloud)
-- KEYS[6] site           string  the random name of this store
-- KEYS[7] repeats        hash    prefix; the last call of each slot
-- ARGV[1] scope
-- ARGV[2] role           edge or cloud
-- ARGV[3] expected       the stamp of the document that was merged, `-` for none
-- ARGV[4] settings       strategy, max_pending, overflow and origin; '' for those the scope has here
-- ARGV[5] candidate      who names the site, where it has no name
-- ARGV[6] max_history    integer
-- ARGV[7] slot           '' where a repeat is no different from a redelivery
-- ARGV[8] number
-- ARGV[9] letters        one a state: a something was new, d nothing was
-- ARGV[10] state         version, clock, checksum, base, signature and origin, a space between each
-- ARGV[11] data          opaque
-- ARGV[12..] versions    of the states
-- Reply: letters; '' where another document is there now: merge again
-- Invariant: no change of a field that this end acknowledged is overwritten unread
-- Repeat: remembered with a slot, else idempotent: what was merged is there
-- include: clock
-- include: idempotency
-- include: document
-- include: history
-- include: site
local doc, history, scopes, changes, sequence, site, repeats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local scope, is_edge, settings, slot, letters = ARGV[1], ARGV[2] == 'edge', ARGV[4], ARGV[7], ARGV[9]
local at = now_ms()
if slot ~= '' then
  local before = recall(repeats, at, slot, ARGV[8])
  if before then return before end
end
local current = read_document(doc)
if ARGV[3] ~= (current and current.stamp or '-') then return '' end

redis.call('XLEN', history)
local known_settings
if is_edge then
  known_settings = redis.call('HGET', scopes, scope)
  if settings == '' then settings = known_settings or 'merge 100 coalesce ' end
else
  redis.call('ZSCORE', changes, scope)
  redis.call('GET', sequence)
end
local known_site = redis.call('GET', site)
local version, clock, checksum, base, signature, origin = string.match(ARGV[10],
  '^(%d+) (%S*) (%S*) (%S*) (%S*) (.*)$')
local state = {
  version = tonumber(version), clock = clock, tick = clock, checksum = checksum, base = base, origin = origin,
  data = ARGV[11], remote = current and current.remote or 0, stamp = stamp(clock, checksum),
  signature = signature ~= '' and signature or nil, was_signed = current and current.was_signed,
}
if current then
  state.version = math.max(state.version, current.version)
  if earlier(clock, current.tick) then state.tick = current.tick end
end
for i = 12, #ARGV do
  local letter = string.sub(letters, i - 11, i - 11)
  state.remote = math.max(state.remote, tonumber(ARGV[i]))
  if letter == 'a' then
    record(history, tonumber(ARGV[6]), is_edge and 'pull' or 'push', tonumber(ARGV[i]), '1', '')
  elseif slot ~= '' then
    record(history, tonumber(ARGV[6]), is_edge and 'pull' or 'push', tonumber(ARGV[i]), '0', 'already applied')
  end
end
write_document(doc, state)
if not known_site then redis.call('SET', site, name_site(ARGV[5])) end
if is_edge then
  if settings ~= known_settings then redis.call('HSET', scopes, scope, settings) end
elseif not current or state.version ~= current.version or state.stamp ~= current.stamp
  or state.origin ~= current.origin then -- two origins may write the same at the same moment
  announce(changes, sequence, scope)
end
if slot ~= '' then remember(repeats, at, slot, ARGV[8], letters) end
return letters
