"""When a cluster was harmed, and what that excuses.

While a master is gone, or a slot is on its way, calls may fail with errors of this package, and for a time after it.
Replication is asynchronous. What was acknowledged in the moments before a master was killed may not have reached its
replica, and is lost with it; what was read then may have been lost as well. Such calls are excused: they
count as calls of which nobody knows whether they took effect. No rule about writing twice is weaker for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from support.history.log import Call

LAG_SECONDS = 2.0
"""How far a replica may lag behind its master, on a machine whose cores are all busy."""


@dataclass(frozen=True, slots=True)
class Harm:
    """One harm: what, and from when until when, by the clock of the logs."""

    what: str
    begun: float
    ended: float
    loses_writes: bool = False

    def touches(self, call: Call, *, before: float = 0.0, after: float = 0.0) -> bool:
        """Return whether a call ran during this, or up to so many seconds before or after."""
        return call.returned > self.begun - before and call.invoked < self.ended + after


def excuse(calls: Sequence[Call], harms: Sequence[Harm]) -> list[Call]:
    """Return the calls, with those marked of which the effect may have been lost with a master."""
    losing = [harm for harm in harms if harm.loses_writes]
    return [
        replace(call, outcome="excused")
        if call.outcome == "ok" and any(harm.touches(call, before=LAG_SECONDS) for harm in losing)
        else call
        for call in calls
    ]


def failed(calls: Sequence[Call]) -> list[Call]:
    """Return the calls that ended in an error of this package."""
    return [call for call in calls if call.outcome == "unknown" and "error" in call.answer]


def error_faults(calls: Sequence[Call], harms: Sequence[Harm], seconds: float) -> Iterator[str]:
    """Yield calls that failed while nothing was wrong, or longer than so many seconds after it."""
    for call in failed(calls):
        if not any(harm.touches(call, after=seconds) for harm in harms):
            yield f"{call.op} ({call.strategy} {call.kind}) failed without a reason: {call.answer['error']}"


def longest_error(calls: Sequence[Call], harms: Sequence[Harm]) -> float:
    """Return how long after the end of a harm a call was begun that failed, at most."""
    late = 0.0
    for call in failed(calls):
        ends = [harm.ended for harm in harms if harm.begun < call.returned]
        late = max(late, call.invoked - max(ends, default=call.invoked))
    return late
