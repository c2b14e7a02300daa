"""Reads of series, minutes, pairs and records, in calls of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar

from edge_redis._core.gather import gather
from edge_redis._core.shards import Shards
from edge_redis._metrics import record_stream
from edge_redis._metrics.keys import find_shards, series_name
from edge_redis._metrics.ranking import Group
from edge_redis._metrics.record_writer import ReadBuilder, RecordWriter, ShardRead
from edge_redis._metrics.scripts import MetricsScripts
from edge_redis._metrics.series import Series, add_pages, add_series, add_totals
from edge_redis.models import InvocationRecord

T = TypeVar("T")

_MINUTES_PER_CALL: Final = 360
_SERIES_PER_CALL: Final = 30
_COUNTS_PER_CALL: Final = 4000
_COUNT_PAIRS: Final = partial(MetricsScripts.list_pairs, cursor=0, count=1)
"""Reads as little as shows the number of pairs."""


class PairCounts(NamedTuple):
    """How many (function, node) pairs have a series, and how many records are counted under ``_other``."""

    pairs: int
    overflow: int


class MetricsReader:
    """Reads the metrics of one namespace, each time after a flush of this process's records.

    What all shards have of a figure is read from all of them at the same time, and added up.
    """

    def __init__(self, writer: RecordWriter) -> None:
        self._writer = writer

    async def read_series(self, name: str, *, buckets: bool = False) -> Series:
        """Return one series, with its buckets where they are wanted."""
        build = partial(MetricsScripts.read_series, series=[name], buckets=buckets)
        found = await self._writer.query(lambda shards: self._read(_choose(shards, name), build))
        return add_series([series for (series,) in found])

    async def read_groups(self, groups: Sequence[Group], *, buckets: bool) -> dict[Group, Series]:
        """Return the series of each group. A series is read atomically in each shard, several together are not."""
        return await self._writer.query(lambda shards: self._read_groups(shards, groups, buckets=buckets))

    async def _read_groups(
        self, shards: Shards[MetricsScripts], groups: Sequence[Group], *, buckets: bool
    ) -> dict[Group, Series]:
        of_shard: list[list[Group]] = [[] for _ in shards]
        for group in groups:
            for number in find_shards(series_name(*group), shards.record):
                of_shard[number].append(group)
        parts: dict[Group, list[Series]] = {group: [] for group in groups}
        for at in range(0, max(map(len, of_shard)), _SERIES_PER_CALL):
            some = {number: each[at : at + _SERIES_PER_CALL] for number, each in enumerate(of_shard) if len(each) > at}
            names = {number: [series_name(*group) for group in each] for number, each in some.items()}
            reads = [
                ShardRead(shards[number], partial(MetricsScripts.read_series, series=each, buckets=buckets))
                for number, each in names.items()
            ]
            for each, found in zip(some.values(), await self._writer.read(reads), strict=True):
                for group, series in zip(each, found, strict=True):
                    parts[group].append(series)
        return {group: add_series(found) for group, found in parts.items()}

    async def read_minutes(self, series: str, minutes: int) -> list[tuple[int, Series]]:
        """Return the last ``minutes`` minutes of a series, oldest first, each with its number since 1970."""
        return await self._writer.query(lambda shards: self._read_minutes(_choose(shards, series), series, minutes))

    async def _read_minutes(
        self, shards: Sequence[MetricsScripts], series: str, minutes: int
    ) -> list[tuple[int, Series]]:
        cells: list[tuple[int, Series]] = []
        last: int | None = None
        while len(cells) < minutes:
            count = min(_MINUTES_PER_CALL, minutes - len(cells))
            build = partial(MetricsScripts.read_minutes, series=series, last=last, minutes=count)
            page = add_pages(await self._read(shards, build))
            cells[:0] = page.list_cells(count)
            last = page.last - count
        return cells

    async def read_totals(self, names: Sequence[str], minutes: int) -> list[list[int]]:
        """Return the invocations of functions or nodes in each of the last ``minutes`` minutes, oldest first."""
        return await self._writer.query(lambda shards: self._read_totals(shards, names, minutes))

    async def _read_totals(
        self, shards: Sequence[MetricsScripts], names: Sequence[str], minutes: int
    ) -> list[list[int]]:
        found: list[list[int]] = []
        per_call = max(1, _COUNTS_PER_CALL // minutes)
        for at in range(0, len(names), per_call):
            build = partial(MetricsScripts.read_totals, series=names[at : at + per_call], minutes=minutes)
            found += add_totals(await self._read(shards, build))
        return found

    async def read_records(self, stream: str, limit: int) -> list[InvocationRecord]:
        """Return the latest ``limit`` records of a stream, oldest first."""
        await self._writer.flush()
        parts = await self._writer.query(
            lambda shards: gather([_read_stream(scripts, stream, limit) for scripts in shards])
        )
        entries = sorted((entry for part in parts for entry in part), key=itemgetter(0))
        found = [record for _, records in entries for record in records]
        return found[max(0, len(found) - limit) :]

    async def list_pairs(self) -> list[tuple[str, str]]:
        """Return all (function, node) pairs, sorted."""
        parts = await self._writer.query(self.list_pairs_by_shard)
        return sorted(set().union(*parts))

    async def list_pairs_by_shard(self, shards: Sequence[MetricsScripts]) -> list[set[tuple[str, str]]]:
        """Return the pairs that each of these shards has, in a query."""
        found: list[set[tuple[str, str]]] = [set() for _ in shards]
        cursors = dict.fromkeys(range(len(found)), 0)
        while cursors:
            reads = [
                ShardRead(shards[number], partial(MetricsScripts.list_pairs, cursor=cursor))
                for number, cursor in cursors.items()
            ]
            pages = dict(zip(cursors, await self._writer.read(reads), strict=True))
            for number, page in pages.items():
                found[number].update(page.pairs)
            cursors = {number: page.cursor for number, page in pages.items() if page.cursor}
        return found

    async def count_pairs(self) -> PairCounts:
        """Return the number of pairs, and how many records are counted under ``_other``."""
        return await self._writer.query(self._count_pairs)

    async def _count_pairs(self, shards: Shards[MetricsScripts]) -> PairCounts:
        pages = await self._read(shards, _COUNT_PAIRS)
        present = pages[: shards.record.shards]  # these list the pairs of earlier numbers too
        others = sum(page.has_other for page in present)
        return PairCounts(
            sum(page.total for page in present) - max(0, others - 1), sum(page.overflow for page in pages)
        )

    async def compact(self, scripts: MetricsScripts) -> None:
        """Compact the write-ahead logs of all writers in a shard, as every query of figures does first."""
        await self._read([scripts], _COUNT_PAIRS)

    async def _read(self, shards: Iterable[MetricsScripts], build: ReadBuilder[T]) -> list[T]:
        return await self._writer.read([ShardRead(scripts, build) for scripts in shards])


def _choose(shards: Shards[MetricsScripts], series: str) -> Sequence[MetricsScripts]:
    """Return the shards that may have a series."""
    return [shards[number] for number in find_shards(series, shards.record)]


async def _read_stream(
    scripts: MetricsScripts, stream: str, limit: int
) -> list[tuple[tuple[int, ...], list[InvocationRecord]]]:
    """Return the latest entries of a shard's stream that have ``limit`` records: the id of each and its records."""
    found: list[tuple[tuple[int, ...], list[InvocationRecord]]] = []
    wanted, position = limit, b""
    while wanted > 0:
        page = await scripts.read_records(stream, position, wanted)
        for entry_id, body in page.entries:
            records = record_stream.decode_entry(body)
            found.append((tuple(map(int, entry_id.split(b"-"))), records))
            wanted -= len(records)
        position = page.position
        if not position:
            break
    return found
