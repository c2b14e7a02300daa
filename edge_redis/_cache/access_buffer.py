"""Accesses that a process has counted and not yet delivered to Redis.

A read appends one access to a deque, which is atomic under the interpreter's lock. A flush
*freezes* the accesses into numbered batches and sends them in order, each until it is
acknowledged and always under the same number. The server remembers the last number of each
buffer, so a batch that is sent twice, or by two threads at once, counts once, and a batch whose
flush failed is kept. A batch is first sent when the one before it has been acknowledged, because
the server ignores a number that is not above the last one.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias

MAX_KEYS: Final = 400
"""Distinct keys in one batch, so that one call of the script stays short."""

MAX_WAITING: Final = 64
"""Batches kept while the server accepts none. Past that, hits and misses are counted without their keys."""

Access: TypeAlias = "tuple[str, int | None]"
"""A read: the key, and the generation of the entry, or None for a miss."""


@dataclass(slots=True)
class AccessBatch:
    """Accesses that one script call delivers: hits by entry, and the keys that were missed."""

    client_id: str
    sequence: int
    hits: int = 0
    misses: int = 0
    hits_by_entry: list[tuple[str, int, int]] = field(default_factory=list)
    """Key, generation and hits of each entry that was read."""
    missed_keys: list[str] = field(default_factory=list)


def _chunks(times: dict[Access, int]) -> Iterator[list[tuple[Access, int]]]:
    items = iter(times.items())
    while chunk := list(islice(items, MAX_KEYS)):
        yield chunk


class AccessBuffer:
    """The undelivered accesses of one shard of one cache. Safe for threads and tasks."""

    def __init__(self, new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._new_mutex = new_mutex
        self.reset()

    def reset(self) -> None:
        """Drop everything: in a forked child, whose parent delivers it."""
        self._mutex = self._new_mutex()
        self.accesses: deque[Access] = deque()
        """Accesses that Redis answered."""
        self.near_hits: deque[Access] = deque()
        """Accesses that the near cache answered: they make no batch due. Reads append to it."""
        self._has_hits = False
        self._frozen: deque[AccessBatch] = deque()
        self._client_id = f"buffer-{secrets.token_hex(8)}"
        self._sequence = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to deliver."""
        return not (self.accesses or self.near_hits or self._frozen)

    @property
    def affects_order(self) -> bool:
        """Whether there is something to deliver that may change which entry is evicted next: misses do not."""
        return bool(self._has_hits or self.near_hits or self._frozen)

    def add(self, key: str, generation: int | None) -> None:
        """Add an access that Redis answered: the generation of the entry, or None for a miss."""
        self.accesses.append((key, generation))
        if generation is not None:
            self._has_hits = True  # last: a freeze in another thread, which clears it, takes what was appended before

    @property
    def pending(self) -> int:
        """How many accesses are not known to be in Redis."""
        with self._mutex:
            frozen = sum(batch.hits + batch.misses for batch in self._frozen)
            return len(self.accesses) + len(self.near_hits) + frozen

    def freeze(self) -> int:
        """Put the accesses into batches; return the sequence number of the last batch."""
        with self._mutex:
            self._has_hits = False
            times: dict[Access, int] = {}
            for accesses in (self.near_hits, self.accesses):
                for _ in range(len(accesses)):
                    access = accesses.popleft()
                    times[access] = times.pop(access, 0) + 1  # in the order of the last access
            for chunk in _chunks(times):
                self._add_batch(chunk)
            return self._sequence

    def _add_batch(self, chunk: list[tuple[Access, int]]) -> None:
        is_full = len(self._frozen) >= MAX_WAITING
        if not is_full:
            self._sequence += 1
            self._frozen.append(AccessBatch(self._client_id, self._sequence))
        batch = self._frozen[-1]  # where full, not the first batch, so never one that was sent
        for (key, generation), times in chunk:
            if generation is None:
                batch.misses += times
            else:
                batch.hits += times
            if is_full:
                continue
            if generation is None:
                batch.missed_keys.append(key)
            else:
                batch.hits_by_entry.append((key, generation, times))

    def next_batch(self, last: int) -> AccessBatch | None:
        """Return the oldest batch that is not acknowledged, up to the sequence number ``last``."""
        with self._mutex:
            batch = self._frozen[0] if self._frozen else None
            return batch if batch is not None and batch.sequence <= last else None

    def acknowledge(self, batch: AccessBatch) -> None:
        """Drop a batch that the server has counted; a second time changes nothing."""
        with self._mutex:
            if self._frozen and self._frozen[0] is batch:
                self._frozen.popleft()
