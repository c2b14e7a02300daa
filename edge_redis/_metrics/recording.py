"""How records get to Redis, as flows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar, cast

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Batch, Operation, Sleep
from edge_redis._metrics.admission import Admission, is_plain
from edge_redis._metrics.buffer import Buffer, Call
from edge_redis._metrics.config import Settings
from edge_redis._metrics.keys import MetricsKeys
from edge_redis._metrics.scripts import FOLD_AT, Scripts, Unsettled
from edge_redis._metrics.sketch import MAX_DURATION_MS
from edge_redis.errors import StoreError
from edge_redis.models import InvocationRecord

T = TypeVar("T")

_OTHERS_FLUSH_SECONDS: Final = 0.001


class Read(Protocol[T]):
    """Builds a read; with ``settled`` of what is there, whatever is left to be added up."""

    def __call__(self, *, settled: bool) -> Operation[T | Unsettled]:
        """Return the read."""


class Recording(Component):
    """The part of the metrics that records."""

    def __init__(self, namespace: str, settings: Settings) -> None:
        self.settings = settings
        self._keys = MetricsKeys(namespace)
        self._scripts = Scripts(self._keys, settings)
        self._slots = IdempotencyKeys()
        self._admission = Admission()
        self._known = self._admission.known
        self._flush_every = settings.flush_every
        self.tick_seconds = settings.flush_interval
        self.buffer = Buffer()
        """A service puts the one in its place that all metrics of this process and namespace share."""

    def take(self, record: InvocationRecord, into: list[InvocationRecord] | None = None) -> bool:
        """Check and buffer a record; whether ``spill`` is due.

        Most of what recording costs is here, so the test is written out: a record that it does not
        know to be sound as it is, of a pair that was seen before, is checked at leisure.
        """
        buffer = self.buffer
        records = buffer.records if into is None else into
        try:
            is_sound = (
                type(record) is InvocationRecord
                and type(record.duration_ms) is float
                and 0.0 <= record.duration_ms <= MAX_DURATION_MS
                and (record.success is True or record.success is False)
                and type(record.timestamp) is datetime
                and record.timestamp.tzinfo is UTC
                and (record.error == "" or is_plain(record.error))
                and (record.function_id, record.node_id) in self._known
            )
        except TypeError:  # an id that cannot even be hashed
            is_sound = False
        records.append(record if is_sound else self._admission.admit(record))
        return len(records) + buffer.unacknowledged >= self._flush_every

    def take_many(self, records: Iterable[InvocationRecord]) -> bool:
        """Check all records, then buffer them; whether ``spill`` is due."""
        if not isinstance(records, Iterable):
            raise validation.type_error("records", records, "an iterable of InvocationRecord")
        sound: list[InvocationRecord] = []
        for record in records:
            self.take(record, sound)
        self.buffer.records.extend(sound)
        return self.buffer.pending >= self._flush_every

    async def spill(self) -> None:
        """Deliver, since ``flush_every`` records are pending.

        An error is raised with ``flush_every=1`` alone. Else the records are kept, and until the
        next tick, query or flush has found the server again they are only added up.
        """
        buffer = self.buffer
        if self.settings.flush_every == 1:
            await self.flush()
            return
        while buffer.senders and not buffer.failing and buffer.pending >= self.settings.flush_every:
            await Sleep(_OTHERS_FLUSH_SECONDS)
        if buffer.failing:
            self._absorb()
        elif buffer.pending >= self.settings.flush_every:
            try:
                await self._deliver(fold=False)
            except StoreError:
                """Kept, and said at the next tick."""

    async def flush(self) -> None:
        """Deliver what this process has recorded so far.

        Raises:
            StoreError: the server could not take it; it is kept, and sent again with the next flush.

        """
        await self._deliver(fold=True)
        if self.buffer.left_over:
            self.buffer.left_over = False
            await self._fold(self.buffer.slot)

    async def _deliver(self, *, fold: bool) -> None:
        """Deliver; without ``fold`` the server may leave it to be added up later, with more of its kind."""
        last = self._absorb()
        while (call := self._next_call(last)) is not None:
            await self._send(call, [], fold=fold)

    async def _after_flush(self, operation: Operation[T]) -> T:
        """Perform an operation behind a flush, in one round trip where one call carries all."""
        last = self._absorb() if self.buffer.pending else 0
        while (call := self._next_call(last)) is not None:
            if self.buffer.ends(call, last):
                result: T = (await self._send(call, [operation]))[0]
                return result
            await self._send(call, [])
        return await operation

    async def _settled(self, read: Read[T]) -> T:
        """Perform a read behind a flush, and once more where writers had left something to be added up."""
        found = await self._after_flush(read(settled=False))
        if not isinstance(found, Unsettled):
            return found
        for slot in found.slots:
            await self._fold(slot)
        return cast("T", (await read(settled=True)))

    async def _fold(self, slot: str) -> None:
        """Add up what a writer had left at this moment; it may leave more meanwhile."""
        for _ in range(FOLD_AT):
            if not (await self._scripts.fold(slot)):
                return

    def _next_call(self, last: int) -> Call | None:
        return None if self.buffer.reached(last) else self.buffer.next_call()

    async def _send(self, call: Call, behind: Sequence[Operation[Any]], *, fold: bool = True) -> list[Any]:
        flush: Operation[Any] = self._scripts.flush(call, self.buffer.slot, fold=fold)
        self.buffer.left_over |= not fold
        results: list[Any] = []
        with self.buffer.sending():
            if behind:
                generation, *results = await Batch([flush, *behind], ordered=True)
            else:  # which costs a client less than a batch of one
                generation = await flush
        self.buffer.acknowledge(call, generation)
        return results

    def _absorb(self) -> int:
        return self.buffer.absorb(
            max_recent=self.settings.max_recent,
            max_errors=self.settings.max_errors,
            max_minutes=self.settings.timeline_minutes,
            slow_ms=math.inf if self.settings.slow_ms is None else self.settings.slow_ms,
        )

    async def tick(self) -> None:
        """Deliver what is buffered."""
        return await self.flush()

    def after_fork(self) -> None:
        """Forget what the parent has recorded: it delivers that itself."""
        self.buffer.reset()
