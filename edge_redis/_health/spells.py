"""Changes of a node's verdict, which are kept for longer than its checks, and its availability, computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from edge_redis._health import verdicts
from edge_redis.models import HealthCheck, timestamp_ms

HEALTHY: Final = "1"
UNHEALTHY: Final = "0"
UNKNOWN: Final = "?"
_MARKS: Final = (HEALTHY, UNHEALTHY, UNKNOWN, "1m", "0m")


class Spell(NamedTuple):
    """A change of verdict: from ``at_ms`` on the node was healthy, unhealthy, in maintenance (m) or unknown."""

    at_ms: int
    mark: str


class NodeHistory(NamedTuple):
    """The history of a node, oldest first, as ``node_history.lua`` replies."""

    now_ms: int
    is_flapping: bool
    is_led: bool
    checks: list[HealthCheck]
    spells: list[Spell]


def decode_history(node_id: str, reply: Sequence[Any]) -> NodeHistory:
    """Return the history of a node; damaged lines are skipped."""
    now, is_flapping, is_led, lines, changes = reply
    spells = (_decode_spell(change) for change in reversed(changes))
    return NodeHistory(
        int(now),
        is_flapping == b"1",
        is_led == b"1",
        verdicts.decode_history(node_id, lines),
        [spell for spell in spells if spell is not None],
    )


def _decode_spell(line: bytes) -> Spell | None:
    at_ms, _, mark = line.decode("utf-8", "replace").partition(" ")
    return Spell(int(at_ms), mark) if at_ms.isascii() and at_ms.isdigit() and mark in _MARKS else None


def compute_availability(history: NodeHistory, seconds: float) -> dict[str, Any]:
    """Return the availability of a node over the last ``seconds``.

    A verdict counts until the next one. The time after the newest check counts as unknown.
    """
    end_ms = min(history.now_ms, timestamp_ms(history.checks[-1].checked_at)) if history.checks else 0
    begin_ms = history.now_ms - seconds * 1000
    known = healthy = longest = 0.0
    failures = 0
    for spell, following in pairwise([*history.spells, Spell(end_ms, UNKNOWN)]):
        lasted = max(0.0, min(following.at_ms, end_ms) - max(spell.at_ms, begin_ms))
        if spell.mark not in (HEALTHY, UNHEALTHY) or following.at_ms < begin_ms:
            continue
        known += lasted
        if spell.mark == HEALTHY:
            healthy += lasted
        else:
            failures += 1
            longest = max(longest, lasted)
    return {
        "availability_percent": 100.0 * healthy / known if known else None,
        "unhealthy_spells": failures,
        "longest_spell_seconds": longest / 1000,
        "known_seconds": known / 1000,
    }
