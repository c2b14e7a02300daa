"""Records on their way to Redis.

A record is stored in a dict under a number of its own. *Aggregating* sums the stored records up;
*freezing* turns the sums into a batch of numbered calls. A call is sent until it is acknowledged,
always under its own number and with the same content: each shard remembers a writer's last number,
so a call that is sent twice, or by two threads at once, counts once. The next call for a shard is sent
only once the one before is acknowledged, since the shard refuses a lower number than the last. Records
that are aggregated meanwhile wait, added up.

An exception can be raised between any two bytecodes: by a signal handler, by a time limit of a job
queue, by Ctrl-C. A signal handler may itself record, in the middle of this code. So nothing here
takes a lock: states are immutable, and a new state replaces the current one by one atomic call
(compare-and-set), which one of several threads wins. An interruption comes either before that call
or after it, never in between.

While the server is unavailable memory stays bounded: the batch being sent, one more added up (at
most ``MAX_WAITING_PAIRS`` pairs, further ones under ``_other``), the latest ``max_recent`` records
and ``max_errors`` failures, and ``flush_every`` records that are not yet aggregated.
"""

from __future__ import annotations

import math
import secrets
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import count, repeat
from typing import Final, NamedTuple

from edge_redis._core.shard_record import ShardPlace
from edge_redis._metrics.columns import EMPTY, RecordColumns
from edge_redis._metrics.config import MetricsConfig
from edge_redis._metrics.flush_calls import LOGS, FlushCall, Sums, split_calls
from edge_redis._metrics.log_tails import Tails
from edge_redis._metrics.totals import NO_TOTALS, Totals, sum_records
from edge_redis.models import InvocationRecord

MAX_WAITING_PAIRS: Final = 50_000
"""Pairs that are summed while they cannot be sent. The server decides later which of them get a series."""

_MAX_LOG_NUMBERS: Final = 20_000

_NEXT: Final = "next"


@dataclass(frozen=True, slots=True, eq=False)
class FlushBatch:
    """The calls of one batch that are not acknowledged, and how many records the batch holds."""

    records: int
    calls: tuple[FlushCall, ...]

    def list_first(self) -> list[FlushCall]:
        """Return the first call for each shard: those that may be sent now."""
        first: dict[ShardPlace, FlushCall] = {}
        for call in self.calls:
            first.setdefault(call.place, call)
        return list(first.values())

    def find(self, sequence: int) -> FlushCall | None:
        """Return the call of this number, where it is not acknowledged."""
        return next((call for call in self.calls if call.sequence == sequence), None)

    def substitute(self, old: FlushCall, new: FlushCall) -> FlushBatch:
        """Return the batch with ``new`` in the place of ``old``."""
        return FlushBatch(self.records, tuple(new if call is old else call for call in self.calls))

    def advance(self, done: FlushCall, epoch: str | None) -> FlushBatch | None:
        """Return the batch without a call, which belongs to ``epoch`` of its shard; None when it was the last."""
        rest = [call for call in self.calls if call is not done]
        if epoch and done.epoch != epoch:
            rest = [replace(call, epoch=epoch) if call.place == done.place else call for call in rest]
        return FlushBatch(self.records, tuple(rest)) if rest else None


class BufferState(NamedTuple):
    """The aggregated records that are not known to be in Redis. Immutable, but for ``consumed`` and ``successor``."""

    aggregated: int
    """Number of records that were ever aggregated."""
    unacknowledged: int
    """Aggregated records that are not known to be in Redis."""
    consumed: list[int]
    """Numbers of the records that were aggregated last; cleared once they are removed."""
    waiting: Totals
    recent: RecordColumns
    failed: RecordColumns
    batch: FlushBatch | None
    sequence: int
    """Number of the last call that was made."""
    earliest: float
    """Time of the earliest waiting record, in seconds since 1970."""
    tails: Mapping[ShardPlace, Tails]
    """The last bodies of this writer's logs in each shard, where they are known."""
    successor: dict[str, BufferState]
    """Holds the state that replaced this one."""

    def add_records(self, columns: RecordColumns, numbers: list[int], config: MetricsConfig) -> BufferState:
        """Return the state once these records are aggregated."""
        failures = columns.find_failures()
        added = sum_records(columns, failures, config.slow_limit_ms)
        return self._replace(
            aggregated=self.aggregated + len(columns),
            unacknowledged=self.unacknowledged + len(columns),
            consumed=numbers,
            earliest=min(self.earliest, *columns.timestamps),
            waiting=self.waiting.merge(added, max_pairs=MAX_WAITING_PAIRS, max_minutes=config.timeline_minutes),
            recent=self.recent.extend_within(columns, config.max_recent),
            failed=self.failed.extend_within(columns.select(failures), config.max_errors) if failures else self.failed,
            successor={},
        )

    def freeze(self, choose_log: Callable[[str], int], shards: int) -> BufferState:
        """Return the state once the waiting sums are a batch for this number of shards."""
        calls = split_calls(
            Sums(self.waiting, self.recent, self.failed),
            shards=shards,
            choose_log=choose_log,
            sequence=self.sequence,
            earliest_ms=math.floor(self.earliest * 1000),
            tails={place.number: tails for place, tails in self.tails.items() if place.shards == shards},
        )
        return self._replace(
            waiting=NO_TOTALS,
            earliest=math.inf,
            recent=EMPTY,
            failed=EMPTY,
            batch=FlushBatch(self.unacknowledged, calls),
            sequence=self.sequence + len(calls),
            successor={},
        )

    def reroute(
        self, batch: FlushBatch, closed: FlushCall, choose_log: Callable[[str], int], shards: int
    ) -> BufferState:
        """Return the state once what ``batch`` had for a closed shard is for the shards of another number."""
        assert closed.sums is not None
        calls = split_calls(
            closed.sums,
            shards=shards,
            choose_log=choose_log,
            sequence=self.sequence,
            earliest_ms=closed.earliest_ms,
            tails={},
        )
        rest = tuple(call for call in batch.calls if call.sums is not closed.sums)
        return self._replace(
            batch=FlushBatch(batch.records, rest + calls), sequence=self.sequence + len(calls), successor={}
        )

    def acknowledge(self, batch: FlushBatch, call: FlushCall, epoch: str | None, *, compact: bool) -> BufferState:
        """Return the state once the server has applied a call of ``batch``; with ``compact`` it was not logged."""
        rest = batch.advance(call, epoch)
        delivered = 0 if rest is not None else batch.records
        logs = {body.log for body in call.bodies}
        kept = {log: tail for log, tail in self.tails.get(call.place, {}).items() if log not in logs}
        tails = {**self.tails, call.place: kept if compact else {**kept, **call.tails}}
        return self._replace(batch=rest, unacknowledged=self.unacknowledged - delivered, tails=tails, successor={})

    def append_all(self, batch: FlushBatch, call: FlushCall) -> BufferState:
        """Return the state once the server has refused to replace bodies, which were compacted."""
        tails = {place: tails for place, tails in self.tails.items() if place != call.place}
        return self._replace(batch=batch.substitute(call, call.append_all()), tails=tails, successor={})


class RecordBuffer:
    """The records that this process has made and not yet delivered. Safe for threads, tasks and signal handlers."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Drop everything: in a forked child, whose parent delivers it."""
        self.records: dict[int, InvocationRecord] = {}
        self.take_number = count().__next__
        self.writer_id = secrets.token_hex(8)
        self.is_failing = False
        """Whether the last call that was sent has failed."""
        self.senders: dict[object, int] = {}
        """The calls under way, each with the thread that sends it."""
        self.uncompacted: set[ShardPlace] = set()
        """The shards at which this process may have left something in its write-ahead logs."""
        self.latest = BufferState(0, 0, [], NO_TOTALS, EMPTY, EMPTY, None, 0, math.inf, {}, {})
        """A recent state; ``state`` is the current one."""
        self._log_numbers: dict[str, int] = {}
        """The numbers of the logs of pairs."""
        self.unacknowledged = 0
        """``unacknowledged`` of a recent state, which is read for each record."""

    @property
    def state(self) -> BufferState:
        """The current state."""
        state = self.latest
        while (newer := state.successor.get(_NEXT)) is not None:
            state = newer
        self.latest = state
        self.unacknowledged = state.unacknowledged
        return state

    def _succeed(self, old: BufferState, new: BufferState) -> bool:
        """Make ``new`` the successor of ``old``, in one atomic step; return False where ``old`` has one already."""
        won = old.successor.setdefault(_NEXT, new) is new
        self.latest = latest = old.successor[_NEXT]
        self.unacknowledged = latest.unacknowledged
        return won

    @property
    def pending(self) -> int:
        """How many records are not known to be in Redis."""
        return len(self.records) + self.state.unacknowledged

    def is_delivered(self, last: int) -> bool:
        """Return whether the first ``last`` records are known to be in Redis."""
        state = self.state
        return state.aggregated - state.unacknowledged >= last

    def aggregate(self, config: MetricsConfig) -> int:
        """Add up the records stored since the last time; return how many there ever were."""
        while True:
            state = self.state
            self._remove(state.consumed)  # left by an interruption of this method
            stored = self.records.copy()
            if not stored:
                return state.aggregated
            new = state.add_records(RecordColumns.of(list(stored.values())), list(stored), config)
            if self._succeed(state, new):
                self._remove(new.consumed)
                return new.aggregated

    def _remove(self, numbers: list[int]) -> None:
        """Remove records by their numbers; removing them again changes nothing."""
        if numbers:
            deque(map(self.records.pop, numbers, repeat(None)), maxlen=0)
            numbers.clear()

    def next_calls(self, shards: int) -> list[FlushCall]:
        """Return the oldest call of each shard that is not acknowledged; where there is none, freeze the waiting sums.

        ``shards`` is their number for a new batch; one that is under way goes where it was to go.
        """
        while True:
            state = self.state
            if state.batch is not None:
                return state.batch.list_first()
            if not state.waiting.pairs:
                return []
            self._succeed(state, state.freeze(self._choose_log, shards))

    def _choose_log(self, pair: str) -> int:
        """Return the number of a pair's log. The logs get about as many pairs each, so that compacting one is short.

        Any choice counts right. That a pair keeps its log saves work: its batches are added up together.
        """
        numbers = self._log_numbers
        if len(numbers) >= _MAX_LOG_NUMBERS:
            numbers.clear()
        return numbers.setdefault(pair, len(numbers) % LOGS)

    def are_last(self, calls: list[FlushCall], last: int) -> bool:
        """Return whether the first ``last`` records are in Redis once these calls are acknowledged."""
        state = self.state
        batch = state.batch
        if batch is None or len(batch.calls) != len(calls) or batch.list_first() != calls:
            return False
        return state.aggregated - state.unacknowledged + batch.records >= last

    def reroute(self, closed: FlushCall, shards: int) -> None:
        """Deliver what a closed shard was to have to the shards of another number. Nothing of it was delivered."""
        while (found := self._find(closed)) is not None:
            state, batch, _ = found
            if self._succeed(state, state.reroute(batch, closed, self._choose_log, shards)):
                return

    def acknowledge(self, call: FlushCall, epoch: str | None, *, compact: bool = False) -> None:
        """Drop a call that the server has applied. Dropping it again changes nothing.

        ``compact`` says that the server has compacted the logs of the call.
        """
        while (found := self._find(call)) is not None:
            state, batch, sent = found
            if self._succeed(state, state.acknowledge(batch, sent, epoch, compact=compact)):
                return

    def append_all(self, call: FlushCall) -> None:
        """Send a call in another form: the server refused it, since its logs have been compacted."""
        while (found := self._find(call)) is not None:
            state, batch, sent = found
            if sent is not call or self._succeed(state, state.append_all(batch, sent)):
                return

    def forget_tails(self, places: Collection[ShardPlace]) -> None:
        """Replace no body of these shards' logs: they are compacted."""
        while True:
            state = self.state
            kept = {place: tails for place, tails in state.tails.items() if place not in places}
            if len(kept) == len(state.tails) or self._succeed(state, state._replace(tails=kept, successor={})):
                return

    def _find(self, call: FlushCall) -> tuple[BufferState, FlushBatch, FlushCall] | None:
        """Return the current state with its batch, and the call of this number in it; None where there is none."""
        state = self.state
        batch = state.batch
        found = None if batch is None else batch.find(call.sequence)
        return None if batch is None or found is None else (state, batch, found)
