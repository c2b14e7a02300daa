"""Records on their way to Redis.

Recording appends to a list, which is atomic under the interpreter's lock. *Sealing* adds the
records up into a batch, and a batch into calls that are numbered in order. A call is sent until
it is acknowledged, always under its own number and with the same content: the server remembers
the last number of the slot, so one that was sent twice, or by two threads at once, counts once.
The next call is sent only once that one is acknowledged, since the server takes a lower number
for one it has seen; what is sealed meanwhile waits, added up.

So while the server is away the memory is bounded: the batch being sent, one more added up (for
at most ``MAX_WAITING_PAIRS`` pairs, what comes past that under ``_other``), the latest
``max_recent`` records and ``max_errors`` that failed, and ``flush_every`` that are not yet added up.
"""

from __future__ import annotations

import math
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

from edge_redis._metrics import recent
from edge_redis._metrics.columns import Columns
from edge_redis._metrics.delta import MAX_UPDATES, Deltas, Part, body_of
from edge_redis._metrics.keys import pair_name
from edge_redis.errors import StoreError
from edge_redis.models import InvocationRecord

MAX_CHUNKS: Final = 6
"""Entries of records in one call: the 1,000 of a flush, and those of them that failed."""

MAX_WAITING_PAIRS: Final = 50_000
"""Pairs added up while they cannot be sent. Which of them get a series is for the server to say."""

Chunk = tuple[str, int, bytes]
"""The stream it goes to, how many records it holds, and its bytes."""


@dataclass(slots=True)
class Batch:
    """What was sealed together. It belongs to the generation that its first call finds."""

    records: int
    calls: deque[Call] = field(default_factory=deque)
    generation: str = ""


@dataclass(slots=True, eq=False)
class Call:
    """One call of the flush script."""

    batch: Batch
    number: int
    names: Sequence[str]
    """Of the pairs that the body speaks of."""
    body: str
    chunks: Sequence[Chunk]


class Buffer:
    """The records that this process has made and not yet delivered. Safe for threads and tasks."""

    def __init__(self, new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._new_mutex = new_mutex
        self.reset()

    def reset(self) -> None:
        """Forget everything: in a forked child, whose parent sends it."""
        self._mutex = self._new_mutex()
        self.records: list[InvocationRecord] = []
        self.slot = secrets.token_hex(8)
        self.failing = False
        self.senders = 0
        self.left_over = False
        """Whether something may be in Redis and not be added up there yet."""
        self.unacknowledged = 0
        """Records taken from ``records`` that are not known to be in Redis."""
        self._number = 0
        self._taken = 0
        self._batch: Batch | None = None
        self._waiting = Deltas()
        self._recent, self._failed = Columns([], [], [], []), Columns([], [], [], [])

    @property
    def pending(self) -> int:
        """How many records are not known to be in Redis."""
        return self.unacknowledged + len(self.records)

    def reached(self, last: int) -> bool:
        """Whether the first ``last`` records are known to be in Redis."""
        return self._taken - self.unacknowledged >= last

    def absorb(self, *, max_recent: int, max_minutes: int, max_errors: int = 0, slow_ms: float = math.inf) -> int:
        """Add up what has been recorded since the last time; return how many records there ever were."""
        with self._mutex:
            count = len(self.records)
            if not count:
                return self._taken
            columns = Columns.of(self.records[:count])
            self.unacknowledged += count  # first, so that who looks meanwhile finds too much pending, never too little
            self._taken += count
            del self.records[:count]  # atomic, as is the append of another thread behind it
            deltas = Deltas()
            deltas.absorb(columns, slow_ms)
            self._waiting.merge(deltas, max_pairs=MAX_WAITING_PAIRS, max_minutes=max_minutes)
            self._recent.keep(columns, max_recent)
            if failed := columns.failed():
                self._failed.keep(columns.those(failed), max_errors)
            return self._taken

    def next_call(self) -> Call | None:
        """Return the oldest call that is not acknowledged, sealing what waits where there is none."""
        with self._mutex:
            if self._batch is None and self._waiting.pairs:
                self._seal()
            return self._batch.calls[0] if self._batch is not None else None

    def _seal(self) -> None:
        deltas, self._waiting = self._waiting, Deltas()
        records, self._recent = self._recent, Columns([], [], [], [])
        failed, self._failed = self._failed, Columns([], [], [], [])
        self._batch = batch = Batch(self.unacknowledged)
        overflow = deltas.overflow
        for parts, chunks in _loads(deltas, chain(_chunks("recent", records), _chunks("errors", failed))):
            self._number += 1
            names = dict.fromkeys(pair_name(part.function_id, part.node_id) for part in parts)
            batch.calls.append(Call(batch, self._number, list(names), body_of(overflow, parts), chunks))
            overflow = 0

    def ends(self, call: Call, last: int) -> bool:
        """Whether the first ``last`` records are in Redis once this call is acknowledged."""
        with self._mutex:
            acknowledged = self._taken - self.unacknowledged
            return len(call.batch.calls) == 1 and acknowledged + call.batch.records >= last

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Note that a call is on its way, and whether the server took it."""
        self.senders += 1
        try:
            yield
        except StoreError:
            self.failing = True
            raise
        else:
            self.failing = False
        finally:
            self.senders -= 1

    def acknowledge(self, call: Call, generation: str | None) -> None:
        """Drop a call that the server has taken; again for the same one changes nothing."""
        with self._mutex:
            batch = self._batch
            if batch is None or batch.calls[0] is not call:
                return
            batch.calls.popleft()
            batch.generation = generation or batch.generation
            if not batch.calls:
                self.unacknowledged -= batch.records
                self._batch = None


def _chunks(stream: str, columns: Columns) -> Iterator[Chunk]:
    return ((stream, count, body) for count, body in recent.packed(columns))


def _loads(deltas: Deltas, chunks: Iterator[Chunk]) -> Iterator[tuple[list[Part], list[Chunk]]]:
    """Yield what each call carries: some parts and some records, each within its bound."""
    for parts in _filled(deltas.parts()):
        yield parts, list(islice(chunks, MAX_CHUNKS))
    while rest := list(islice(chunks, MAX_CHUNKS)):
        yield [], rest


def _filled(parts: Iterator[Part]) -> Iterator[list[Part]]:
    """Yield as many parts at a time as one call may carry."""
    filled: list[Part] = []
    updates = 0
    for part in parts:
        if updates + part.updates > MAX_UPDATES and filled:
            yield filled
            filled, updates = [], 0
        filled.append(part)
        updates += part.updates
    if filled:
        yield filled
