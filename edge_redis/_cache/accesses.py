"""Delivery of access counts to Redis: on their own, or ahead of operations that depend on them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar

from edge_redis._cache.access_buffer import AccessBuffer
from edge_redis._cache.round_trips import run_together
from edge_redis._cache.scripts import Scripts
from edge_redis._core.operation import Batch, Operation
from edge_redis.errors import StoreError

T = TypeVar("T")


class Accesses:
    """The access counts of one shard.

    Args:
        scripts: of the shard.
        buffer: shared by all caches of this process and namespace.
        flush_every: undelivered accesses at which a read delivers them.

    """

    def __init__(self, scripts: Scripts, buffer: AccessBuffer, flush_every: int) -> None:
        self.buffer = buffer
        self.flush_every = flush_every
        self._scripts = scripts
        # The first batch is sent alone: if the server does not know the script yet, it is sent again, after the
        # operations that depend on it.
        self._has_delivered = False

    async def flush(self) -> None:
        """Deliver the accesses made so far by all caches of this process and namespace."""
        await self._deliver(self.buffer.freeze())

    async def flush_quietly(self) -> None:
        """Deliver the accesses after a read. The read was answered, so an error is ignored: the next flush retries."""
        with suppress(StoreError):
            await self.flush()

    async def flush_if_due(self) -> None:
        """Deliver the accesses after a read, once there are ``flush_every``."""
        if len(self.buffer.accesses) >= self.flush_every:
            await self.flush_quietly()

    async def run_in_order(self, operations: Sequence[Operation[T]]) -> list[T]:
        """Run operations that may evict, with the hits made so far delivered before them, in the same round trip."""
        return await (self.run_after_flush(operations) if self.buffer.affects_order else run_together(operations))

    async def run_after_flush(self, operations: Sequence[Operation[T]]) -> list[T]:
        """Run operations with the accesses made so far delivered before them, in the same round trip."""
        last = self.buffer.freeze()
        await self._deliver(last - 1 if self._has_delivered else last)
        batch = self.buffer.next_batch(last)
        if batch is None:
            return await run_together(operations)
        in_order: list[Operation[Any]] = [self._scripts.record_accesses(batch), *operations]
        _, *results = await Batch(in_order, ordered=True)
        self.buffer.acknowledge(batch)
        return results

    async def _deliver(self, last: int) -> None:
        while batch := self.buffer.next_batch(last):
            await self._scripts.record_accesses(batch)
            self.buffer.acknowledge(batch)
            self._has_delivered = True
