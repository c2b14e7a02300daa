"""Changes the number of shards of the metrics. Nothing is moved: what the old shards have is read there.

1. The shards of the new number are no longer marked as earlier ones, which they may have been. The pairs of the
   present ones are listed there: so ``max_series`` bounds the pairs of all numbers together. What is left of it is
   divided evenly.
2. The present shards are marked ``look``. From now on a query that takes them for the present ones reads the record.
3. The record names the new number, and the old one as an earlier one (``_core/shard_record.py``).
4. The shards of earlier numbers are marked ``closed``: a batch that has not begun there goes to the new shards. The
   pairs that came since step 1 are listed.

A writer that does not know of the change goes on meanwhile, and what it adds is read. A process that ends anywhere here
leaves metrics that count right; the same change completes the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from edge_redis._core.chunks import split_chunks
from edge_redis._core.gather import gather
from edge_redis._core.operation import Batch, Operation
from edge_redis._core.shard_record import ShardRecord, choose_shard
from edge_redis._core.shards import check_shards, name_shards, share_of
from edge_redis._metrics.config import MetricsConfig
from edge_redis._metrics.keys import MetricsKeys, pair_name
from edge_redis._metrics.scripts import LISTED_PAIRS, MetricsScripts, PairPage
from edge_redis._metrics.shards import MetricsShards
from edge_redis.errors import StoreError

_MAX_ATTEMPTS: Final = 10


def count_pairs(namespace: str, shard: str) -> Operation[int]:
    """Return how many pairs the shard of this name lists."""
    scripts = MetricsScripts(MetricsKeys(namespace, shard), MetricsConfig(namespace), max_series=0, is_checked=False)
    pages = scripts.list_pairs(0, 1)
    return Operation(pages.args, lambda reply: _total(pages.decode(reply)), pages.script)


def _total(page: object) -> int:
    assert isinstance(page, PairPage)
    return page.total


class MetricsResharding:
    """The change of the number of shards of a namespace's metrics."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.shards = MetricsShards(MetricsConfig(namespace))

    async def change(self, shards: int, report: Callable[[ShardRecord], object]) -> ShardRecord:
        """Write to this number of shards from now on; return the record, which ``report`` is given."""
        check_shards(shards)
        for _ in range(_MAX_ATTEMPTS):
            record = await self.shards.count.read()
            if record is None:
                record = await self.shards.count.store(shards)
            if record.shards != shards:
                await self._prepare(record, shards)
                record = await self.shards.count.replace(record, record.begin_epoch(shards))
            if record is not None and record.shards == shards:
                report(record)
                await self._complete(record)
                return record
        raise StoreError("the number of shards of the metrics is being changed by another process")

    async def _prepare(self, record: ShardRecord, shards: int) -> None:
        await Batch([scripts.mark(None) for scripts in self.shards.of(shards)])
        await self._list_pairs(record.shards, shards)
        await Batch([scripts.mark("look") for scripts in self.shards.of(record.shards)])

    async def _complete(self, record: ShardRecord) -> None:
        await Batch([scripts.mark(None) for scripts in self.shards.of(record.shards)])
        for earlier in record.earlier:
            await Batch([scripts.mark("closed") for scripts in self.shards.of(earlier)])
            await self._list_pairs(earlier, record.shards)

    async def is_complete(self, record: ShardRecord) -> bool:
        """Return whether no change ended halfway."""
        marks = await Batch([scripts.read_mark() for scripts in self.shards.at(record)])
        return marks == [None] * record.shards + [b"closed"] * sum(record.earlier)

    async def _list_pairs(self, old: int, shards: int) -> None:
        """List the pairs of the shards of an old number in those of this number."""
        new = self.shards.of(shards)
        await gather([self._list_pairs_of(scripts, new) for scripts in self.shards.unchecked(old)])
        names = name_shards(self._namespace, "metrics", shards)
        counts = await Batch([count_pairs(self._namespace, name) for name in names])
        shares = [share_of(sum(counts), number, shards) for number in range(shards)]
        extras = [count - share for count, share in zip(counts, shares, strict=True)]
        await Batch([scripts.set_extra(extra) for scripts, extra in zip(new, extras, strict=True)])

    async def _list_pairs_of(self, old: MetricsScripts, new: Sequence[MetricsScripts]) -> None:
        cursor: int | None = 0
        while cursor is not None:
            page = await old.list_pairs(cursor)
            assert isinstance(page, PairPage)
            of_shard: dict[int, list[tuple[str, str]]] = {}
            for pair in page.pairs:
                of_shard.setdefault(choose_shard(pair_name(*pair), len(new)), []).append(pair)
            calls = [
                new[number].add_pairs(some)
                for number, pairs in of_shard.items()
                for some in split_chunks(pairs, LISTED_PAIRS)
            ]
            if calls:
                await Batch(calls)
            cursor = page.cursor or None
