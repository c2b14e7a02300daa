"""What the workers of an edge have carried, all of them, ever: counted in one hash at the edge."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge_redis._core import sketch
from edge_redis._core.gather import gather
from edge_redis._core.operation import command
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.link import LINK_COUNTERS

PUSHED: Final = "pushed"
_TIME_US: Final = "time_us"
_BUCKET: Final = "time:"
_NAME: Final = re.compile(rb"[a-z_]+|time:-?[0-9]+")
_PAGE: Final = 1000
_US_PER_SECOND: Final = 1_000_000
_MS_PER_SECOND: Final = 1000


@dataclass(frozen=True, slots=True)
class Totals:
    """The counters, and the times from each change's write at the edge to its confirmation there."""

    pushed: int
    """Changes that workers have confirmed."""
    link: dict[str, int]
    """By the names of LINK_COUNTERS."""
    time_us: int
    """The sum of the times, in microseconds."""
    buckets: Mapping[int, int]
    """The times in ms, by the buckets of the sketch."""

    @property
    def timed(self) -> int:
        """Number of changes whose time is known."""
        return sum(self.buckets.values())

    @property
    def p95_seconds(self) -> float:
        """The time within which 95 of 100 changes came to the cloud; 0.0 where none did."""
        return sketch.percentile(95, self.buckets) / _MS_PER_SECOND

    def describe_time(self) -> dict[str, Any]:
        """Return the times as ``TimeToCloud``."""
        count = self.timed
        p50, p95, p99 = (each / _MS_PER_SECOND for each in sketch.percentiles((50, 95, 99), self.buckets))
        average = self.time_us / count / _US_PER_SECOND if count else 0.0
        return {"count": count, "average_seconds": average, "p50_seconds": p50, "p95_seconds": p95, "p99_seconds": p99}


NO_TOTALS: Final = Totals(0, dict.fromkeys(LINK_COUNTERS, 0), 0, {})


async def read_totals(shards: Sequence[SyncKeys]) -> Totals:
    """Read the totals of an edge, those of all its shards; a damaged counter is left out."""
    found = Counter[str]()
    for some in await gather([_read_counters(keys) for keys in shards]):
        found.update(some)
    buckets = {int(name.removeprefix(_BUCKET)): count for name, count in found.items() if name.startswith(_BUCKET)}
    link = {name: found.get(name, 0) for name in LINK_COUNTERS}
    return Totals(found.get(PUSHED, 0), link, found.get(_TIME_US, 0), buckets)


async def _read_counters(keys: SyncKeys) -> dict[str, int]:
    found: dict[str, int] = {}
    position = -1
    while position != 0:
        position, some = await command(_from_page, "HSCAN", keys.totals, max(position, 0), "COUNT", _PAGE)
        found |= some
    return found


def _from_page(reply: tuple[int, dict[bytes, bytes]]) -> tuple[int, dict[str, int]]:
    """Return the next position of a scan, and the counters found."""
    position, found = reply
    return int(position), {
        name.decode(): int(value) for name, value in found.items() if _NAME.fullmatch(name) and value.isdigit()
    }
