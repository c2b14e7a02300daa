"""Verdicts of checks, decoded from what ``check_nodes.lua`` writes.

A line of the history, which is also the *full* reply, is ``<1|0>[m] <age_ms> <at_ms> <skew_ms> <status> <location>``.
The location comes last, since it may hold spaces. ``m`` stands for maintenance.

A *brief* reply has a word for each node, with a space between: ``<1|0|?><age_ms>`` and marks, or ``-`` alone.

| mark | place     | meaning                                                                              |
|------|-----------|--------------------------------------------------------------------------------------|
| 1    | first     | healthy                                                                              |
| 0    | first     | unhealthy                                                                            |
| ?    | first     | deferred: missing heartbeats would turn the node unhealthy, and nothing was written  |
| !    | after age | the verdict differs from the one before                                              |
| ^    | after age | the node was up: neither unhealthy before, OFFLINE nor in maintenance                |
| ~    | after age | it was up and is overdue: its heartbeat is missing for longer than usual             |
| %    | after age | it was up and is suspected already                                                   |
| -    | alone     | not checked: neither registered nor described by the caller                          |
| @    | reply     | ``@<timeout_ms>`` and a newline before all: the watch that leads has another timeout |

``?``, ``^``, ``~`` and ``%`` come in the form *watch* alone. The reply ``FENCED`` says that the leader's term is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from edge_redis.models import HealthCheck, from_timestamp

NOTABLE_SKEW_MS: Final = 1000
"""The details mention the clock of a node that was further ahead of the server's than this."""

UNKNOWN: Final = b"-"
_FIELDS: Final = 6
_MARKS: Final = (b"1", b"0", b"1m", b"0m")


def decode_line(node_id: str, line: bytes) -> HealthCheck | None:
    """Return the check of a line, or None where it does not decode."""
    fields = line.split(b" ", _FIELDS - 1)
    try:
        age_ms, at_ms, skew_ms = map(int, fields[1:4])
        status, location = fields[4].decode("utf-8", "replace"), fields[5].decode("utf-8", "replace")
        checked_at = from_timestamp(at_ms / 1000)
        latency_ms, age_seconds, skew_seconds = float(age_ms), age_ms / 1000, skew_ms / 1000
    except (ValueError, IndexError, OverflowError, OSError):
        return None
    mark = fields[0]
    if mark not in _MARKS:
        return None
    details: dict[str, Any] = {"status": status, "heartbeat_age_seconds": age_seconds, "location": location}
    if skew_ms > NOTABLE_SKEW_MS:
        details["clock_skew_seconds"] = skew_seconds
    if mark.endswith(b"m"):
        details["maintenance"] = True
    return HealthCheck(node_id, mark.startswith(b"1"), latency_ms, checked_at, details)


def decode_history(node_id: str, lines: Sequence[bytes]) -> list[HealthCheck]:
    """Return a history's lines, newest first, as checks, oldest first; damaged lines are skipped."""
    return [check for line in reversed(lines) if (check := decode_line(node_id, line)) is not None]


class Verdict(NamedTuple):
    """A verdict without its details.

    The fields after ``latency_ms`` are the marks ``!``, ``?``, ``^``, ``~`` and ``%`` of the table above.
    """

    node_id: str
    healthy: bool
    latency_ms: float
    changed: bool
    deferred: bool = False
    up: bool = False
    overdue: bool = False
    suspected: bool = False


def decode_words(node_ids: Iterable[str], reply: bytes) -> list[Verdict]:
    """Return the verdicts of a brief reply; nodes that were not checked are left out."""
    return [
        _decode_word(node_id, word)
        for node_id, word in zip(node_ids, reply.split(b" "), strict=True)
        if word != UNKNOWN
    ]


def _decode_word(node_id: str, word: bytes) -> Verdict:
    age = word[1:]
    if age.isdigit():  # without marks, as most are
        return Verdict(node_id, word.startswith(b"1"), float(age), changed=False, deferred=word.startswith(b"?"))
    return Verdict(
        node_id,
        word.startswith(b"1"),
        float(age.rstrip(b"!^~%")),
        b"!" in word,
        word.startswith(b"?"),
        b"^" in word,
        b"~" in word,
        b"%" in word,
    )


def summarize(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the result of ``check_cluster`` for these verdicts."""
    healthy = sum(verdict.healthy for verdict in verdicts)
    total = len(verdicts)
    return {
        "total_nodes": total,
        "healthy_nodes": healthy,
        "unhealthy_nodes": total - healthy,
        "health_percent": 100.0 * healthy / total if total else 100.0,
        "checks": [
            {"node_id": verdict.node_id, "healthy": verdict.healthy, "latency_ms": verdict.latency_ms}
            for verdict in verdicts
        ],
    }
