"""Reads of series, minutes, pairs and records, in calls of bounded size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from edge_redis._metrics import record_stream
from edge_redis._metrics.keys import series_name
from edge_redis._metrics.ranking import Group
from edge_redis._metrics.record_writer import RecordWriter
from edge_redis._metrics.scripts import MetricsScripts
from edge_redis._metrics.series import Series
from edge_redis.models import InvocationRecord

_MINUTES_PER_CALL: Final = 360
_SERIES_PER_CALL: Final = 30
_COUNTS_PER_CALL: Final = 4000


class PairCounts(NamedTuple):
    """How many (function, node) pairs have a series, and how many records are counted under ``_other``."""

    pairs: int
    overflow: int


class MetricsReader:
    """Reads the metrics of one namespace, each time after a flush of this process's records."""

    def __init__(self, scripts: MetricsScripts, writer: RecordWriter) -> None:
        self._scripts = scripts
        self._writer = writer

    async def read_series(self, name: str, *, buckets: bool = False) -> Series:
        """Return one series, with its buckets where they are wanted."""
        return (await self._writer.read(partial(self._scripts.read_series, [name], buckets=buckets)))[0]

    async def read_groups(self, groups: Sequence[Group], *, buckets: bool) -> dict[Group, Series]:
        """Return the series of each group. A series is read atomically, several together are not."""
        found: dict[Group, Series] = {}
        for at in range(0, len(groups), _SERIES_PER_CALL):
            some = groups[at : at + _SERIES_PER_CALL]
            names = [series_name(*group) for group in some]
            series = await self._writer.read(partial(self._scripts.read_series, names, buckets=buckets))
            found.update(zip(some, series, strict=True))
        return found

    async def read_minutes(self, series: str, minutes: int) -> list[tuple[int, Series]]:
        """Return the last ``minutes`` minutes of a series, oldest first, each with its number since 1970."""
        cells: list[tuple[int, Series]] = []
        last: int | None = None
        while len(cells) < minutes:
            count = min(_MINUTES_PER_CALL, minutes - len(cells))
            page = await self._writer.read(partial(self._scripts.read_minutes, series, last, count))
            cells[:0] = page.list_cells(count)
            last = page.last - count
        return cells

    async def read_totals(self, names: Sequence[str], minutes: int) -> list[list[int]]:
        """Return the invocations of each series in each of the last ``minutes`` minutes, oldest first."""
        found: list[list[int]] = []
        per_call = max(1, _COUNTS_PER_CALL // minutes)
        for at in range(0, len(names), per_call):
            some = names[at : at + per_call]
            totals = await self._writer.read(partial(self._scripts.read_totals, some, minutes))
            found += totals
        return found

    async def read_records(self, stream: str, limit: int) -> list[InvocationRecord]:
        """Return the latest ``limit`` records of a stream, oldest first."""
        await self._writer.flush()
        entries: list[list[InvocationRecord]] = []
        wanted, position = limit, b""
        while wanted > 0:
            page = await self._scripts.read_records(stream, position, wanted)
            entries += map(record_stream.decode_entry, page.entries)
            wanted, position = limit - sum(map(len, entries)), page.position
            if not position:
                break
        found = [record for entry in reversed(entries) for record in entry]
        return found[max(0, len(found) - limit) :]

    async def list_pairs(self) -> list[tuple[str, str]]:
        """Return all (function, node) pairs, sorted."""
        found: set[tuple[str, str]] = set()
        cursor, has_more = 0, True
        while has_more:
            page = await self._writer.read(partial(self._scripts.list_pairs, cursor))
            found.update(page.pairs)
            cursor, has_more = page.cursor, page.cursor != 0
        return sorted(found)

    async def count_pairs(self) -> PairCounts:
        """Return the number of pairs, and how many records are counted under ``_other``."""
        page = await self._writer.read(partial(self._scripts.list_pairs, 0, 1))
        return PairCounts(page.total, page.overflow)

    async def compact(self) -> None:
        """Compact the write-ahead logs of all writers, as every query of figures does first."""
        await self.count_pairs()
