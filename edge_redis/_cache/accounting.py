"""What a shard of a cache counts: accesses on their way to Redis, and the statistics that come of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

from edge_redis._cache.buffer import AccessBuffer
from edge_redis._cache.config import Settings
from edge_redis._cache.keys import CacheKeys
from edge_redis._cache.near import Copies, Near
from edge_redis._cache.scripts import CallId, Scripts, chunks
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Batch, Operation
from edge_redis.errors import StoreError

T = TypeVar("T")


async def together(operations: Sequence[Operation[T]]) -> list[T]:
    """Perform operations in one round trip; one alone without a pipeline, which costs more than it does."""
    if len(operations) == 1:
        return [(await operations[0])]
    return (await Batch(operations)) if operations else []


class Accounting:
    """The part of a shard that counts."""

    def __init__(self, keys: CacheKeys, settings: Settings, clock: Callable[[], float], near: Near | None) -> None:
        self._settings = settings
        self.keys = keys
        self._clock = clock
        self._near = near
        self._scripts = Scripts(keys)
        self._slots = IdempotencyKeys()
        self._exact = settings.flush_every == 1
        # The first batch goes alone: a server that does not know the script yet would take it last.
        self._delivered = False
        self.buffer = AccessBuffer()
        self.copies = Copies()
        """A service puts those in their places that all caches of this process and namespace share."""
        if near is not None:
            self.copies.add(near)

    @property
    def reads_plainly(self) -> bool:
        """Whether a read is a GET and no more."""
        return self._near is None and not self._exact

    async def counted(self, fields: Sequence[str]) -> list[int]:
        """Return the live entries, those whose time has come, and these statistics, the accesses noted so far in."""
        return await self._after_flush(self._scripts.stats(fields))

    async def flush(self) -> None:
        """Deliver the accesses noted so far, those of all caches of this process and namespace."""
        await self._deliver(self.buffer.seal())

    def after_fork(self) -> None:
        """Forget what the parent has noted: it delivers that itself."""
        self.buffer.reset()

    def announced(self, ms: int) -> Operation[int]:
        """Ask for word of every write."""
        return self._scripts.announce(ms)

    async def _deliver(self, last: int) -> None:
        while batch := self.buffer.next_batch(last):
            await self._scripts.count(batch)
            self.buffer.acknowledge(batch)
            self._delivered = True

    def _is_full(self) -> bool:
        return len(self.buffer) >= self._settings.flush_every

    async def _flush_or_keep(self) -> None:
        """Deliver what a read has noted. The read was answered: an error is kept for the next flush to tell."""
        with suppress(StoreError):
            await self.flush()

    async def _after_flush(self, operation: Operation[T]) -> T:
        if self.buffer.next_batch(self.buffer.seal()) is None:
            return await operation
        results = await self._all_after_flush([operation])
        return results[0]

    async def _all_after_flush(self, operations: Sequence[Operation[T]]) -> list[T]:
        """Perform operations with the accesses noted so far delivered before them, in the same round trip."""
        last = self.buffer.seal()
        await self._deliver(last - 1 if self._delivered else last)
        batch = self.buffer.next_batch(last)
        if batch is None:
            return await together(operations)
        in_order: list[Operation[Any]] = [self._scripts.count(batch), *operations]
        _, *results = await Batch(in_order, ordered=True)
        self.buffer.acknowledge(batch)
        return results

    async def _remembered(self, keys: Sequence[str], build: Callable[[Sequence[str], CallId], Operation[T]]) -> list[T]:
        """Perform ``build`` for chunks of keys in one round trip, each under an id of its own."""
        with ExitStack() as held:
            calls = [build(chunk, held.enter_context(self._slots.acquire())) for chunk in chunks(keys)]
            return await together(calls)
