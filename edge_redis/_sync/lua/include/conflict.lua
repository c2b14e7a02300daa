-- Keep the losing side of a conflict.
-- Needs: integer
local function keep_loser(conflicts, max_conflicts, doc, side, loser, winner)
  redis.call('XADD', conflicts, 'MAXLEN', max_conflicts, '*', 'lost', side,
    'version', integer(loser.version), 'clock', loser.clock, 'origin', loser.origin,
    'checksum', loser.checksum, 'data', loser.data or redis.call('HGET', doc, 'data'),
    'winner_version', integer(winner.version), 'winner_clock', winner.clock,
    'winner_origin', winner.origin, 'winner_checksum', winner.checksum)
end
