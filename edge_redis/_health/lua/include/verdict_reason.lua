-- Return why a node has its verdict, as text for the transition; note is added where missing heartbeats turn it unhealthy.
local function verdict_reason(node, now, threshold, note)
  local text = string.format('heartbeat %.1f s old, timeout %g s', node.age / 1000, node.timeout_ms / 1000)
  if node.phi then text = text .. string.format(', phi %.1f, threshold %g', node.phi, threshold) end
  if node.suspected then
    text = text .. string.format(', suspected for %.1f s', math.max(0, now - node.suspected) / 1000)
  end
  if node.turning then text = text .. note end
  if node.status ~= 'offline' and node.status ~= 'maintenance' then return text end
  return 'status is ' .. node.status .. ', ' .. text
end
