-- Entries of an outbox for a client.
-- Needs: body_of

-- An entry of the outbox for a client, which has tried it so often: with its body, or where `is_spliced` with the splice
-- that makes it of the body of the entry before in the reply.
local function format_leased(deliveries, entry, body, is_spliced)
  local head = table.concat({entry.id, deliveries, entry.is_delta or '', entry.version, entry.clock or '',
    entry.checksum or '', entry.ancestor or '', entry.signature or '', entry.origin or ''}, ' ')
  return (is_spliced and '~' or '') .. #head .. ':' .. head .. body
end

-- An entry for a client that has the body of the checksum `known`: the splice where it is made of that, else the body,
-- which is empty where it cannot be made any more. The client compares its checksum.
local function format_entry(pending, entry, deliveries, known)
  if entry.splice and entry.base == known then return format_leased(deliveries, entry, entry.splice, true) end
  return format_leased(deliveries, entry, body_of(pending, entry) or '', false)
end
