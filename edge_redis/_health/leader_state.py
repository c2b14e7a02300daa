"""The state of the leading watch and of the relays, for processes that only report it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge_redis._core.operation import Batch, Operation, command
from edge_redis._health.keys import HealthKeys

_LEADER_FIELDS: Final = ("holder", "term", "until_ms", "round_ms", "mass_outage")
_RELAY_FIELDS: Final = ("delivered", "dropped", "lost", "attempts", "last_error")


@dataclass(frozen=True, slots=True)
class LeaderState:
    """The watch that leads a namespace, as its lease says."""

    is_led: bool
    """Whether some watch holds the lease."""
    term: int
    """The number of the leader's term; 0 where no watch has ever led."""
    round_age_seconds: float | None
    """The age of the last round, by the server's clock; None where there was none."""
    mass_outage: bool


@dataclass(frozen=True, slots=True)
class RelayState:
    """The counts of all relays of one name and the same states."""

    name: str
    delivered: int
    dropped: int
    lost: int
    attempts: int
    """Failed attempts at the transition that is due."""
    last_error: str


async def read_leader(namespace: str) -> LeaderState:
    """Return whether a watch leads, and its last round."""
    keys = HealthKeys(namespace)
    fields, now_ms = await Batch[Any](
        [command(list[bytes | None], "HMGET", keys.leader, *_LEADER_FIELDS), command(_decode_time, "TIME")]
    )
    holder, *words = fields
    term, until_ms, round_ms, mass_outage = map(_decode_integer, words)
    is_led = holder is not None and until_ms > now_ms
    age = max(0, now_ms - round_ms) / 1000 if round_ms else None
    return LeaderState(is_led, term, age, mass_outage == 1)


async def read_relays(namespace: str) -> list[RelayState]:
    """Return the relays that have ever begun in this namespace, sorted by name."""
    keys = HealthKeys(namespace)
    names = sorted(await command(list[bytes], "SMEMBERS", keys.relay_names))
    texts = [name.decode(errors="replace") for name in names]
    reads: list[Operation[list[bytes | None]]] = [
        command(list[bytes | None], "HMGET", keys.relay(name), *_RELAY_FIELDS) for name in texts
    ]
    return [_describe_relay(*found) for found in zip(texts, await Batch(reads), strict=True)] if reads else []


def _describe_relay(name: str, fields: Sequence[bytes | None]) -> RelayState:
    delivered, dropped, lost, attempts = map(_decode_integer, fields[:4])
    return RelayState(name, delivered, dropped, lost, attempts, (fields[4] or b"").decode("utf-8", "replace"))


def _decode_integer(word: bytes | None) -> int:
    """Return a stored number, or zero where it is missing or damaged."""
    try:
        return int(word or 0)
    except ValueError:
        return 0


def _decode_time(reply: Any) -> int:
    seconds, microseconds = map(int, reply)
    return seconds * 1000 + microseconds // 1000
