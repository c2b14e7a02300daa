-- Needs: whole
-- Removes a series and its minutes.
local function unlink_series(root, series, at_ms, timeline_minutes)
  local keys = {root .. ':s:' .. series}
  local this_hour = math.floor(at_ms / 3600000)
  for hour = this_hour - math.ceil(timeline_minutes / 60), this_hour + 1 do
    keys[#keys + 1] = root .. ':t' .. whole(hour) .. ':' .. series
  end
  redis.call('UNLINK', unpack(keys))
end
