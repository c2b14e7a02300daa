"""The state of the leading watch and of the relays, for processes that only report it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge_redis._core.gather import gather
from edge_redis._core.operation import Batch, command
from edge_redis._health.keys import HealthKeys
from edge_redis._health.shards import list_logs, make_shards

_LEADER_FIELDS: Final = ("holder", "term", "until_ms", "round_ms", "mass_outage")
_MAX_DIGITS: Final = 19
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


async def _find_logs(namespace: str) -> list[HealthKeys]:
    shards = make_shards(namespace, _same)
    return list_logs(shards, await shards.find())


def _same(keys: HealthKeys) -> HealthKeys:
    return keys


async def read_leader(namespace: str) -> LeaderState:
    """Return whether a watch leads, and its last round."""
    shards = await make_shards(namespace, _same).find()
    keys = shards[shards.record.home]
    fields, now_ms = await Batch[Any](
        [command(list[bytes | None], "HMGET", keys.leader, *_LEADER_FIELDS), command(_decode_time, "TIME")]
    )
    holder, *words = fields
    term, until_ms, round_ms, mass_outage = map(decode_count, words)
    is_led = holder is not None and until_ms > now_ms
    age = max(0, now_ms - round_ms) / 1000 if round_ms else None
    return LeaderState(is_led, term, age, mass_outage == 1)


async def read_relays(namespace: str) -> list[RelayState]:
    """Return the relays that have ever begun in this namespace, sorted by name."""
    shards = await _find_logs(namespace)
    parts = await Batch([command(list[bytes], "SMEMBERS", keys.relay_names) for keys in shards])
    names = sorted({name.decode(errors="replace") for part in parts for name in part})
    reads = [read_relay([keys.relay(name) for keys in shards]) for name in names]
    return [RelayState(name, **counts) for name, counts in zip(names, await gather(reads), strict=True)]


async def read_relay(keys: Sequence[str]) -> dict[str, Any]:
    """Return the counts of a relay, given its key in each shard: sums, and of the shard with most failed attempts."""
    rows = await Batch([command(list[bytes | None], "HMGET", key, *_RELAY_FIELDS) for key in keys])
    delivered, dropped, lost, attempts = ([decode_count(row[place]) for row in rows] for place in range(4))
    _, error = max((count, row[4] or b"") for count, row in zip(attempts, rows, strict=True))
    return {
        "delivered": sum(delivered),
        "dropped": sum(dropped),
        "lost": sum(lost),
        "attempts": max(attempts),
        "last_error": error.decode("utf-8", "replace"),
    }


def decode_count(word: bytes | None) -> int:
    """Return a stored count, or zero where it is missing or damaged."""
    return int(word) if word is not None and word.isdigit() and len(word) <= _MAX_DIGITS else 0


def _decode_time(reply: Any) -> int:
    seconds, microseconds = map(int, reply)
    return seconds * 1000 + microseconds // 1000
