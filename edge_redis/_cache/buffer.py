"""Access counts on their way to Redis.

A read appends one note to a deque, which is atomic under the interpreter's lock and costs
next to nothing. A flush *seals* what was noted into numbered batches and sends them in order,
each until it is acknowledged, always under the same number: the server remembers the last
number of the slot, so a batch that was sent twice, or by two threads at once, counts once, and
one whose flush failed is not lost. A batch is sent for the first time only when the one before
it has been acknowledged, since the server takes a lower number for one that it has seen.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

MAX_KEYS: Final = 400
"""Distinct keys in one batch: what the script may touch in one call."""

MAX_WAITING: Final = 64
"""Batches kept while the server takes none. Past that, hits and misses are kept and their keys are not."""


@dataclass(slots=True)
class Batch:
    """What one flush carries: per-key hits of the entry that was read, and the keys that were missed."""

    slot: str
    number: int
    hits: int = 0
    misses: int = 0
    hit: list[tuple[str, int, int]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


Note = tuple[str, int | None]


def _chunks(times: dict[Note, int]) -> Iterator[list[tuple[Note, int]]]:
    items = iter(times.items())
    while chunk := list(islice(items, MAX_KEYS)):
        yield chunk


class AccessBuffer:
    """The accesses that this process has made and not yet delivered. Safe for threads and tasks."""

    def __init__(self, new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._new_mutex = new_mutex
        self.reset()

    def reset(self) -> None:
        """Forget everything: in a forked child, whose parent sends it."""
        self._mutex = self._new_mutex()
        self._notes: deque[Note] = deque()
        self._near: deque[Note] = deque()
        self._sealed: deque[Batch] = deque()
        self._slot = f"buffer-{secrets.token_hex(8)}"
        self._number = 0

    def __len__(self) -> int:
        """Return how many accesses are noted and not sealed, but for those that the near cache answered."""
        return len(self._notes)

    def hit(self, key: str, generation: int) -> None:
        """Note that the entry of this generation was read."""
        self._notes.append((key, generation))

    def miss(self, key: str) -> None:
        """Note that there was no such entry."""
        self._notes.append((key, None))

    @property
    def note(self) -> Callable[[Note], None]:
        """Takes a note of a read: the key, and the generation of the entry or None for a miss."""
        return self._notes.append

    @property
    def near_hit(self) -> Callable[[Note], None]:
        """Takes a note of a hit that the near cache answered: it makes no batch due."""
        return self._near.append

    def seal(self) -> int:
        """Put what is noted into batches; return the number of the last batch there is."""
        with self._mutex:
            times: dict[Note, int] = {}
            for notes in (self._near, self._notes):
                for _ in range(len(notes)):
                    note = notes.popleft()
                    times[note] = times.pop(note, 0) + 1  # in the order of the last access
            for chunk in _chunks(times):
                self._seal(chunk)
            return self._number

    def _seal(self, chunk: list[tuple[Note, int]]) -> None:
        full = len(self._sealed) >= MAX_WAITING
        if not full:
            self._number += 1
            self._sealed.append(Batch(self._slot, self._number))
        batch = self._sealed[-1]  # where full, not the first, so never one that was sent
        for (key, generation), times in chunk:
            if generation is None:
                batch.misses += times
            else:
                batch.hits += times
            if full:
                continue
            if generation is None:
                batch.missed.append(key)
            else:
                batch.hit.append((key, generation, times))

    def next_batch(self, last: int) -> Batch | None:
        """Return the oldest batch not acknowledged, of those up to the number ``last``."""
        with self._mutex:
            batch = self._sealed[0] if self._sealed else None
            return batch if batch is not None and batch.number <= last else None

    def acknowledge(self, batch: Batch) -> None:
        """Drop a batch that the server has taken; again for the same one changes nothing."""
        with self._mutex:
            if self._sealed and self._sealed[0] is batch:
                self._sealed.popleft()
