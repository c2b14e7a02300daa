-- Add to the integer that an entry holds, whose TTL, tags and access count stay; or store the amount.
-- KEYS[1] prefix     string   of every key of the shard (see keys.py)
-- ARGV[1] client_id  string   of the call
-- ARGV[2] sequence   integer  of the call
-- ARGV[3] bounds     string   as of put.lua
-- ARGV[4] tags       string   empty
-- ARGV[5] condition  string   "incr", and the amount: its upper 32 bits (signed) and its lower 32 bits
-- ARGV[6..] entry    string   to store where there is none: its key, TTL in ms (0 for ever) and encoded amount
-- Reply: string: "=" and the new value, encoded; or "type" where the value is not an integer, "range" where the
--   sum exceeds 64 bits; or the reply of put.lua where there was no entry
-- Invariant: live entries never exceed max_size, nor their bytes max_bytes
-- Repeat: remembered
-- include: clock
-- include: idempotency
-- include: put_plain
-- include: index
-- include: adaptive
-- include: order
-- include: leases
-- include: epochs
-- include: compare
local counter = ARGV[6]
local WORD = 4294967296
-- First byte of a msgpack integer -> its bytes, and whether it is signed.
local INTEGERS = {
  [0xcc] = {1, false}, [0xcd] = {2, false}, [0xce] = {4, false}, [0xcf] = {8, false},
  [0xd0] = {1, true}, [0xd1] = {2, true}, [0xd2] = {4, true}, [0xd3] = {8, true},
}

-- The upper (signed) and lower 32 bits of an encoded integer, nil where it is none within 64 bits.
local function words_of(body)
  local kind = string.byte(body)
  if kind < 0x80 and #body == 1 then return 0, kind end
  if kind >= 0xe0 and #body == 1 then return -1, WORD + kind - 256 end
  local format = INTEGERS[kind]
  if not format or #body ~= 1 + format[1] then return nil end
  if format[1] == 8 then
    local high = number_at(body, 2, 4)
    if high >= WORD / 2 then
      if not format[2] then return nil end
      high = high - WORD
    end
    return high, number_at(body, 6, 4)
  end
  local number = number_at(body, 2, format[1])
  if format[2] and number >= 256 ^ format[1] / 2 then return -1, WORD + number - 256 ^ format[1] end
  return 0, number
end

local function bytes_of(number, count)
  local bytes = {}
  for place = count, 1, -1 do
    bytes[place] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(bytes)
end

-- The shortest encoding, as every other value has it.
local function encode(high, low)
  if high == 0 then
    if low < 128 then return string.char(low) end
    if low < 256 then return '\204' .. bytes_of(low, 1) end
    if low < 65536 then return '\205' .. bytes_of(low, 2) end
    return '\206' .. bytes_of(low, 4)
  end
  if high > 0 then return '\207' .. bytes_of(high, 4) .. bytes_of(low, 4) end
  if high == -1 and low >= WORD / 2 then
    if low >= WORD - 32 then return string.char(low - WORD + 256) end
    if low >= WORD - 128 then return '\208' .. bytes_of(low - WORD + 256, 1) end
    if low >= WORD - 32768 then return '\209' .. bytes_of(low - WORD + 65536, 2) end
    return '\210' .. bytes_of(low, 4)
  end
  return '\211' .. bytes_of(high + WORD, 4) .. bytes_of(low, 4)
end

local function increment(value, body, score)
  local more_high, more_low = string.match(ARGV[5], '^incr (%S+) (%S+)$')
  local high, low = words_of(body)
  if not high then return 'type' end
  low = low + more_low
  high = high + more_high + math.floor(low / WORD)
  low = low % WORD
  if high >= WORD / 2 or high < -WORD / 2 then return 'range' end
  local encoded = encode(high, low)
  local sequence = next_sequence()
  local header = string.format('%010.0f', sequence % GENERATIONS) .. string.sub(value, 11, #value - #body)
  redis.call('SET', value_of(counter), header .. encoded, 'KEEPTTL')
  redis.call('ZADD', COUNTS, score_of_generation(counter, score, sequence), counter)
  set_size(counter, #counter + #header + #encoded)
  written[#written + 1] = counter
  void_lease(counter)
  publish_writes(began)
  return '=' .. encoded
end

assert_types()
has_value(counter)
local amount, value = body_of(counter)
local score = tonumber(redis.call('ZSCORE', COUNTS, counter))
if amount and score and redis.call('ZSCORE', EXPIRY, counter) then
  local reply = increment(value, amount, score)
  remember(REPEATS, began, ARGV[1], ARGV[2], reply)
  return reply
end
-- include: put_entries
