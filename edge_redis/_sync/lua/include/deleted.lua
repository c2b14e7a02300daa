-- The newest delete of a scope in the cloud.
-- Needs: earlier

local TOMBSTONE_CHECKSUM = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' -- of empty data

-- The newest delete before a state that replaces another one in the cloud, clock and origin with a space between; nil
-- where there is none, and where the data say it themselves: merged fields, or a delete. MERGE needs it: an edge that
-- has the delete lacks the fields that were changed before it.
local function deleted_before(current, state)
  if not current or state.data == '' or string.byte(state.data, 1) == 146 then return nil end
  local newest = current.deleted
  if current.checksum == TOMBSTONE_CHECKSUM then newest = current.clock .. ' ' .. current.origin end
  return newest and earlier(string.sub(newest, 1, 18), state.clock) and newest or nil
end
