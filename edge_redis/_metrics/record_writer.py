"""Recording of invocations, and the delivery of the records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar, cast

from edge_redis._core import validation
from edge_redis._core.gather import gather
from edge_redis._core.layout import OtherShardsError
from edge_redis._core.operation import Batch, Operation, Sleep
from edge_redis._core.shard_record import ShardPlace
from edge_redis._core.shards import Shards
from edge_redis._core.sketch import MAX_DURATION_MS
from edge_redis._metrics.config import MetricsConfig
from edge_redis._metrics.flush_calls import FlushCall
from edge_redis._metrics.record_buffer import RecordBuffer
from edge_redis._metrics.records import RecordValidator, is_plain
from edge_redis._metrics.scripts import CompactedLogError, EarlierShardError, MetricsScripts, Uncompacted
from edge_redis._metrics.shards import MetricsShards
from edge_redis.errors import EdgeRedisError, StoreError
from edge_redis.models import InvocationRecord

T = TypeVar("T")

_MAX_QUERIES: Final = 10
"""Beginnings of one query while the number of shards is changed."""

_CLOSED: Final = (EarlierShardError, OtherShardsError)
"""What a flush raises that has met a closed shard, or one of a number that is not read any more."""

_REFUSED: Final = (*_CLOSED, CompactedLogError)
"""What a flush raises that is to be sent in another form."""

_WAIT_SECONDS: Final = 0.001
_MAX_WAITS: Final = 1000

_MAX_COMPACT_CALLS: Final = 200
"""Of one read, for one writer: several times what its logs usually hold."""


class ReadBuilder(Protocol[T]):
    """Builds a read of a shard; with ``compacted``, one that ignores what is left in write-ahead logs."""

    def __call__(self, scripts: MetricsScripts, *, compacted: bool) -> Operation[T | Uncompacted]:
        """Return the operation that reads."""


class ShardRead(NamedTuple, Generic[T]):
    """A read of one shard."""

    scripts: MetricsScripts
    build: ReadBuilder[T]


class RecordWriter:
    """Buffers the records of this process, and delivers them.

    ``thread_id`` identifies the calling thread; ``blocks_thread`` says that waiting blocks it.
    """

    def __init__(
        self,
        shards: MetricsShards,
        config: MetricsConfig,
        buffer: RecordBuffer,
        *,
        thread_id: Callable[[], int],
        blocks_thread: bool,
    ) -> None:
        self.buffer = buffer
        self._shards = shards
        self._config = config
        self._thread_id = thread_id
        self._blocks_thread = blocks_thread
        self._validator = RecordValidator()
        self._known_nodes = self._validator.known_nodes
        self._flush_every = config.flush_every

    def append(self, record: InvocationRecord, into: dict[int, InvocationRecord] | None = None) -> bool:
        """Validate a record and buffer it, or store it in ``into``; return whether ``flush_if_due`` is to be called.

        Most of the cost of recording is here, so the checks are written out: a record of a known
        pair whose fields are all of the exact types is valid as it is, any other is validated.
        """
        try:
            if not (
                type(record) is InvocationRecord
                and type(record.duration_ms) is float
                and 0.0 <= record.duration_ms <= MAX_DURATION_MS
                and (record.success is True or record.success is False)
                and type(record.timestamp) is datetime
                and record.timestamp.tzinfo is UTC
                and (record.error == "" or is_plain(record.error))
                and record.node_id in self._known_nodes[record.function_id]
            ):
                record = self._validator.validate(record)
        except (LookupError, TypeError):  # an unknown function, or an id that is not hashable
            record = self._validator.validate(record)
        buffer = self.buffer
        records = buffer.records if into is None else into
        records[buffer.take_number()] = record
        return len(records) + buffer.unacknowledged >= self._flush_every

    def append_many(self, records: Iterable[InvocationRecord]) -> bool:
        """Validate all records, then buffer them; return whether ``flush_if_due`` is to be called."""
        if not isinstance(records, Iterable):
            raise validation.type_error("records", records, "an iterable of InvocationRecord")
        staged: dict[int, InvocationRecord] = {}
        for record in records:
            self.append(record, staged)
        self.buffer.records.update(staged)  # in one step, which nothing can interrupt
        return self.buffer.pending >= self._flush_every

    async def flush_if_due(self) -> None:
        """Deliver where ``flush_every`` records are pending.

        A StoreError is raised with ``flush_every=1`` only. Otherwise the records are kept, and are
        only added up until a tick, a query or a flush has reached the server again.
        """
        if self._flush_every == 1:
            await self.flush()
            return
        await self._wait_for_senders()
        if self.buffer.is_failing:
            self.aggregate()
        elif self._is_due():
            with suppress(StoreError):  # the records are kept, and the next tick logs the error
                await self._deliver(compact=False)

    def _is_due(self) -> bool:
        return self.buffer.pending >= self._flush_every

    async def _wait_for_senders(self) -> None:
        """Wait while others send, so that callers cannot record faster than the server takes."""
        senders = self.buffer.senders
        for _ in range(_MAX_WAITS):
            if self.buffer.is_failing or not self._is_due() or not self._has_others(senders):
                return
            await Sleep(_WAIT_SECONDS)
        senders.clear()  # a sender that was interrupted before it could sign off

    def _has_others(self, senders: dict[object, int]) -> bool:
        """Return whether a call is under way that can end while this caller waits.

        A blocking caller that finds its own thread among the senders runs in a signal handler on
        top of that sender, which cannot go on before this caller returns.
        """
        if not senders or not self._blocks_thread:
            return bool(senders)
        own = self._thread_id()
        return any(thread != own for thread in list(senders.values()))

    async def flush(self) -> None:
        """Deliver what this process has recorded so far.

        Raises:
            StoreError: the server could not take it; it is kept, and sent again with the next flush.

        """
        await self._deliver(compact=True)
        await self._compact_own()

    async def _compact_own(self) -> None:
        """Compact this process's own logs."""
        uncompacted = self.buffer.uncompacted
        if not uncompacted:
            return
        places = sorted(uncompacted)
        uncompacted.clear()
        self.buffer.forget_tails(places)
        try:
            await gather([self._compact(self._scripts_of(each), self.buffer.writer_id) for each in places])
        except StoreError:
            uncompacted.update(places)
            raise

    def _scripts_of(self, place: ShardPlace) -> MetricsScripts:
        return self._shards.of(place.shards)[place.number]

    async def _deliver(self, *, compact: bool) -> None:
        """Deliver; without ``compact`` the server may leave the batch in the write-ahead log."""
        last = self.aggregate()
        while calls := await self._next_calls(last):
            await self._send(calls, (), compact=compact)

    async def query(self, read: Callable[[Shards[MetricsScripts]], Awaitable[T]]) -> T:
        """Run a query, which delivers what is buffered first, on all shards; again where their number was changed.

        One that has read the record after it began need not have what is written later, to shards of a new number.
        """
        shards = await (self._shards.settle() if self.buffer.pending else self._shards.find())
        for _ in range(_MAX_QUERIES):
            try:
                return await read(shards)
            except EarlierShardError:
                shards = await self._shards.refresh_unchecked()
        return await read(shards)

    async def run_after_flush(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Run operations after a flush, in one round trip where one call to each shard delivers everything."""
        buffer = self.buffer
        last = self.aggregate() if buffer.pending else 0
        while calls := await self._next_calls(last):
            if not buffer.are_last(calls, last):
                await self._send(calls, ())
            elif (found := await self._send(calls, operations)) is not None:
                return found
        if len(operations) == 1:
            return [await operations[0]]
        return await Batch(operations)

    async def read(self, reads: Sequence[ShardRead[T]]) -> list[T]:
        """Run reads after a flush, and again where write-ahead logs had to be compacted first; all at the same time."""
        found = await self.run_after_flush([build(scripts, compacted=False) for scripts, build in reads])
        if not any(isinstance(each, Uncompacted) for each in found):
            return found
        return await gather(
            [self._read_compacted(scripts, build, each) for (scripts, build), each in zip(reads, found, strict=True)]
        )

    async def _read_compacted(self, scripts: MetricsScripts, build: ReadBuilder[T], found: T | Uncompacted) -> T:
        if not isinstance(found, Uncompacted):
            return found
        for writer_id in found.writers:
            await self._compact(scripts, writer_id)
        return cast("T", (await build(scripts, compacted=True)))

    async def _compact(self, scripts: MetricsScripts, writer_id: str) -> None:
        """Add up what a writer's logs hold at this moment; the writer may append more meanwhile."""
        for _ in range(_MAX_COMPACT_CALLS):
            if not (await scripts.compact(writer_id)):
                return

    async def _next_calls(self, last: int) -> list[FlushCall]:
        """Return the calls to send now, one for each shard at most; none once ``last`` records are delivered."""
        buffer = self.buffer
        if buffer.is_delivered(last):
            return []
        try:
            shards = await self._shards.settle()
        except StoreError:
            buffer.is_failing = True
            raise
        return buffer.next_calls(shards.record.shards)

    async def _send(
        self, calls: Sequence[FlushCall], behind: Sequence[Operation[Any]], *, compact: bool = True
    ) -> list[Any] | None:
        """Send calls to shards with the operations ``behind`` them; return the results of those.

        None where a log was compacted meanwhile: then there is another form of its call to send.
        """
        buffer = self.buffer
        flushes = [self._flush(call, compact=compact) for call in calls]
        buffer.uncompacted.update(call.place for call in calls if not (compact and call.is_compacted_at_once))
        sender = object()
        try:
            buffer.senders[sender] = self._thread_id()
            results = await self._perform(flushes, behind)
            is_compacted = self._take_replies(calls, results, compact=compact)
            closed = {call: each for call, each in zip(calls, results, strict=False) if isinstance(each, _CLOSED)}
            if closed:
                await self._reroute(closed)
                if behind:  # they do not read the shards that the batch goes to now
                    raise EarlierShardError
            _raise_first([each for each in results[: len(calls)] if not isinstance(each, _REFUSED)])
            buffer.is_failing = False
        except StoreError:
            buffer.is_failing = True
            raise
        finally:
            buffer.senders.pop(sender, None)
        if is_compacted:
            return None
        _raise_first(results[len(calls) :])
        return results[len(calls) :]

    def _take_replies(self, calls: Sequence[FlushCall], results: Sequence[Any], *, compact: bool) -> bool:
        """Acknowledge the calls that were applied; return whether one is to be sent with bodies that are appended."""
        buffer, is_compacted = self.buffer, False
        for call, result in zip(calls, results, strict=False):
            if isinstance(result, CompactedLogError):
                buffer.append_all(call)
                is_compacted = True
            elif not isinstance(result, EdgeRedisError):
                buffer.acknowledge(call, result, compact=compact)
        return is_compacted

    async def _reroute(self, closed: Mapping[FlushCall, EdgeRedisError]) -> None:
        """Make calls for the shards of the present number of what closed shards were to have."""
        record = await self._shards.count.read()
        for call, error in closed.items():
            if record is None or (call.shards == record.shards and isinstance(error, EarlierShardError)):
                raise error  # a change that ended halfway
            if isinstance(error, OtherShardsError):
                self._shards.count.accept(record)
                if call.shards in record.numbers:
                    continue  # another call was refused, and with it the whole batch
            self._shards.learn(record)
            self.buffer.reroute(call, record.shards)

    def _flush(self, call: FlushCall, *, compact: bool) -> Operation[Any]:
        return self._scripts_of(call.place).flush(call, self.buffer.writer_id, compact=compact)

    @staticmethod
    async def _perform(flushes: Sequence[Operation[Any]], behind: Sequence[Operation[Any]]) -> list[Any]:
        """Return the results, with errors among them where there are several operations."""
        try:
            if len(flushes) == 1 and not behind:  # cheaper for a client than a batch of one
                return [await flushes[0]]
            return await Batch([*flushes, *behind], ordered=bool(behind), return_exceptions=True)
        except _REFUSED as error:
            return [error] * (len(flushes) + len(behind))

    def aggregate(self) -> int:
        """Add up what was recorded since the last time; return how many records there ever were."""
        return self.buffer.aggregate(self._config)


def _raise_first(results: Iterable[Any]) -> None:
    """Raise the first error among results."""
    for result in results:
        if isinstance(result, EdgeRedisError):
            raise result
