-- Refuse to write to a shard whose keys are, or will be, in another one: `<tag>:moved` exists. This stands before every
-- script that writes keys of a component whose shards can be moved, and before anything that the script does.
-- Needs: KEYS[1]
if redis.call('EXISTS', string.match(KEYS[1], '^[^}]*}') .. ':moved') == 1 then
  return redis.error_reply('ERMOVED this shard is being moved, or was')
end
