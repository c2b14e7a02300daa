-- A whole number as text, however large: tostring would write 1e+15.
local function whole(number)
  return string.format('%.0f', number)
end
