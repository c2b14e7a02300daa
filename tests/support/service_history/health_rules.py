"""What must hold of watches and transitions.

leaders     a term has one leader; a round that begins after a round of a higher term has ended leads in none below
order       the transitions of a node are a chain: each begins in the state in which the one before it ended, in
            another state, and no earlier
heartbeats  no node becomes unhealthy while a heartbeat of less than a timeout ago is acknowledged, and none
            recovers without a heartbeat of less than a timeout ago
deaths      a node without heartbeats for long is unhealthy in the end
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from support.history.log import Call
from support.service_history.cache_rules import Before, latest, process_of

TOLERANCE_SECONDS = 0.05
"""Between the clocks of the log and of the server, and for times that are kept in milliseconds."""
_DELAY_SECONDS = 5.0
"""A heartbeat of unknown outcome has arrived by then, if ever."""


@dataclass(frozen=True, slots=True)
class Change:
    """A transition, at a moment of the clock of the log."""

    node: str
    state: str
    previous: str
    moment: float


def leader_faults(calls: Sequence[Call]) -> Iterator[str]:
    """Yield terms with several leaders, and rounds that were led in a term that was over."""
    rounds = [
        call for call in calls if call.kind == "round" and call.outcome == "ok" and call.answer["answer"]["leader"]
    ]
    leaders: dict[int, set[str]] = defaultdict(set)
    for each in rounds:
        leaders[each.answer["answer"]["term"]].add(process_of(each))
    for term, names in sorted(leaders.items()):
        if len(names) > 1:
            yield f"term {term} had several leaders: {sorted(names)}"
    highest = Before((each.returned, each.answer["answer"]["term"]) for each in rounds)
    for each in rounds:
        term = each.answer["answer"]["term"]
        if term < highest(each.invoked):
            yield f"{each.op} led in term {term} after a round of term {highest(each.invoked):.0f} had ended"


def chain_faults(changes: Sequence[Change]) -> Iterator[str]:
    """Yield transitions of a node that do not follow the one before; ``changes`` are in the order of the stream."""
    by_node: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        if "flapping" not in (change.state, change.previous):  # which is apart from being healthy or not
            by_node[change.node].append(change)
    for node, some in sorted(by_node.items()):
        for before, after in pairwise([Change(node, some[0].previous, "", -inf), *some]):
            state = "healthy" if before.state == "recovered" else before.state
            if after.previous != state or after.state == state:
                yield f"{node}: {after} after {before}"
            elif after.moment < before.moment:
                yield f"{node}: {after} is earlier than {before}"


def heartbeat_faults(calls: Sequence[Call], changes: Sequence[Change], timeout: float) -> Iterator[str]:
    """Yield transitions that the heartbeats of the node contradict."""
    beats: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.kind == "beat":
            beats[call.scope].append(call)
    acknowledged = {
        node: Before((beat.returned, beat.invoked) for beat in some if beat.outcome == "ok")
        for node, some in beats.items()
    }
    for change in changes:
        if change.state == "unhealthy" and change.node in acknowledged:
            newest = acknowledged[change.node](change.moment - TOLERANCE_SECONDS)
            if newest > change.moment - timeout + TOLERANCE_SECONDS:
                yield f"{change}, but a heartbeat of {change.moment - newest:.2f} s before was acknowledged"
        if change.state == "recovered" and not any(
            beat.invoked < change.moment + TOLERANCE_SECONDS
            and latest(beat) > change.moment - timeout - TOLERANCE_SECONDS
            for beat in beats[change.node]
        ):
            yield f"{change}, but there was no heartbeat for a timeout"


def death_faults(calls: Sequence[Call], changes: Sequence[Change], end: float, seconds: float) -> Iterator[str]:
    """Yield nodes that sent nothing for so long before ``end`` and are not unhealthy then."""
    last: dict[str, float] = {}
    for call in calls:
        if call.kind == "beat":
            last[call.scope] = max(last.get(call.scope, -inf), min(latest(call), call.invoked + _DELAY_SECONDS, end))
    states = {change.node: change.state for change in changes}
    for node, moment in sorted(last.items()):
        if end - moment > seconds and states.get(node) != "unhealthy":
            yield f"{node}: {states.get(node, 'unknown')}, {end - moment:.1f} s after its last heartbeat"
