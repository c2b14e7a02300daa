"""The near cache: entries that a process keeps in its own memory.

It is coherent by these rules:

- Entries are served only while every connection that reports writes is up (``on_connected``). Writes are
  reported by the server's invalidation messages, or by messages that writers publish. When a connection
  is lost, all entries are dropped.
- A read that may fill is registered before it is sent. A message that the key was written, or a
  write by this process, invalidates the registration, and the result of the read is not kept
  ("Scaling Memcache at Facebook", Nishtala et al., NSDI 2013, has leases for the same race).
- Of several reads under way at once the newest entry is kept: the generation decides.

A hit takes no lock and returns nothing that the caller could change for others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from edge_redis._cache.access_buffer import Access
from edge_redis._cache.circuit import CircuitBreaker
from edge_redis._cache.config import NearCache
from edge_redis._cache.entry import HEADER_BYTES, DecodedEntry, is_older
from edge_redis._cache.near_entry import MISSING, FoundEntry, NearEntry, PendingFill, snapshot
from edge_redis._core import codec
from edge_redis.errors import StoreTimeoutError, StoreUnavailableError

_MAX_SPARED: Final = 16
"""Entries that one eviction spares because they were read, at most (second chance)."""


class NearEntries:
    """The near cache of one process for one cache. Safe for threads and tasks."""

    def __init__(
        self,
        config: NearCache,
        clock: Callable[[], float],
        new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext,
        decode: Callable[[bytes], Any] = codec.decode,
    ) -> None:
        self._config = config
        self._clock = clock
        self._new_mutex = new_mutex
        self._decode = decode
        self.circuit: CircuitBreaker | None = None
        """The circuit of a fail-open cache, which the failures of the listener open as well."""
        self.after_fork()

    def after_fork(self) -> None:
        """Reset state in a forked child: empty, without connections."""
        self._mutex = self._new_mutex()
        self._entries: dict[str, NearEntry] = {}
        self._stale: dict[str, NearEntry] = {}
        self._fills: dict[str, PendingFill] = {}
        self._connections = 0
        self._expected_connections = 1
        self.needs_announcements = False
        """Whether messages come from writers, which must be asked to publish them."""
        self.announced_since: Sequence[int] | None = None
        """Since when writers publish without a gap, at each shard; None before they were asked."""

    @property
    def is_listening(self) -> bool:
        """Whether all writes are reported, so that entries can be served."""
        return 0 < self._expected_connections == self._connections

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def has_entry(self, key: str) -> bool:
        """Return whether there is an entry ``key``, which may have expired; records no hit."""
        return key in self._entries

    def get(self, key: str) -> Any:
        """Return the value of ``key`` and record a hit; MISSING where there is none, also for an invalid key."""
        try:
            entry = self._entries.get(key)
        except TypeError:  # not hashable
            return MISSING
        if entry is None or entry.expires <= self._clock():
            return MISSING
        entry.is_used = True
        entry.record(entry.access)
        copy = entry.copy
        return entry.value if copy is None else copy()

    def get_with_ttl(self, key: str) -> FoundEntry | None:
        """Return the entry ``key`` with its TTL in Redis, as ``get`` does; None where there is none."""
        entry = self._entries.get(key)
        value = self.get(key)
        if entry is None or value is MISSING:
            return None
        return FoundEntry(value, entry.redis_expires - self._clock(), entry.cost_ms, entry.stale_ms)

    def stale_get(self, key: str) -> Any:
        """Return the value that was kept when the connection was lost, until it expires; else MISSING.

        For fail-open reads. Until the loss of the connection is noticed, this is the current entry.
        """
        entry = self._stale.get(key) or self._entries.get(key)
        if entry is None or entry.expires <= self._clock():
            return MISSING
        return entry.value if entry.copy is None else entry.copy()

    def begin_fill(self, key: str) -> PendingFill:
        """Register a read of ``key`` that is about to be sent."""
        with self._mutex:
            fill = self._fills.setdefault(key, PendingFill())
            fill.readers += 1
            return fill

    def end_fill(self, key: str, fill: PendingFill) -> None:
        """End the registration of a read, whatever its result."""
        with self._mutex:
            fill.readers -= 1
            if not fill.readers and self._fills.get(key) is fill:
                del self._fills[key]

    def put(self, key: str, fill: PendingFill, entry: NearEntry) -> None:
        """Keep the result of a registered read, unless something newer is known."""
        with self._mutex:
            if not fill.is_valid:
                # This entry is not kept, and a read that began after the write must not keep an older one.
                self._observe(key, entry.generation)
            elif not fill.record_generation(entry.generation):
                return
            elif self.is_listening:
                self._entries[key] = entry
                self._evict()
            elif key in self._stale:
                self._stale[key] = entry  # read since the connection was lost

    def make_entry(
        self, key: str, decoded: DecodedEntry, raw: bytes, record: Callable[[Access], object], redis_expires: float
    ) -> NearEntry:
        """Return the near entry of ``raw``, which is ``decoded`` and expires in Redis at ``redis_expires``."""
        entry = NearEntry()
        entry.generation, value, entry.cost_ms, entry.stale_ms = decoded
        entry.value, entry.copy = snapshot(value, raw[HEADER_BYTES:], self._decode)
        entry.redis_expires = redis_expires
        entry.expires = min(redis_expires, self._clock() + self._config.ttl)
        entry.access, entry.record, entry.is_used = (key, entry.generation), record, False
        return entry

    def observe(self, key: str, generation: int | None) -> None:
        """Drop entries older than ``generation``, which a read found in Redis; None if it found no entry."""
        with self._mutex:
            self._observe(key, generation)

    def _observe(self, key: str, generation: int | None) -> None:
        for entries in (self._entries, self._stale):
            known = entries.get(key)
            if known is not None and (generation is None or is_older(known.generation, generation)):
                del entries[key]
        if generation is None:
            self._invalidate_fill(key)
        elif key in self._fills:
            self._fills[key].record_generation(generation)

    def invalidate(self, keys: Iterable[str] | None) -> None:
        """Drop the entries of ``keys``, which were written; all entries where None."""
        with self._mutex:
            if keys is None:
                self._drop_entries()
                self._stale.clear()
                return
            for key in keys:
                self._entries.pop(key, None)
                self._stale.pop(key, None)
                self._invalidate_fill(key)

    def reset(self, connections: int) -> None:
        """Serve nothing until this number of connections report writes: one for each master."""
        with self._mutex:
            self._connections, self._expected_connections = 0, connections
            self.needs_announcements = False
            self._drop_entries()

    def on_connected(self) -> None:
        """Count a new connection that reports writes."""
        with self._mutex:
            self._connections += 1
            self._start_empty()
        self._record_answer()

    def on_announcements_needed(self) -> None:
        """Count a new connection without messages of the server: writers must be asked to publish their writes."""
        with self._mutex:
            self.needs_announcements, self.announced_since = True, None
        self._record_answer()

    def _record_answer(self) -> None:
        if self.circuit is not None:
            self.circuit.record_success()

    def on_announced(self, since: Sequence[int]) -> None:
        """Record since when writers publish. Another time than before means that some writes were not published."""
        with self._mutex:
            if self.needs_announcements and since != self.announced_since:
                self.announced_since = since
                self._connections = self._expected_connections
                self._start_empty()

    def suspend(self) -> None:
        """Serve nothing until writers are known to publish again."""
        with self._mutex:
            self._connections, self.announced_since = 0, None
            self._drop_entries()

    def on_disconnected(self, error: Exception | None = None) -> None:
        """Connection lost: stop serving entries, keep them for ``stale_get``."""
        if self.circuit is not None and isinstance(error, StoreUnavailableError):
            self.circuit.record_listener_failure(is_hung=isinstance(error, StoreTimeoutError))
        with self._mutex:
            if self.is_listening:
                self._stale = dict(self._entries)
            self._connections = 0
            self.needs_announcements, self.announced_since = False, None
            self._drop_entries()

    def _start_empty(self) -> None:
        self._drop_entries()
        self._stale.clear()

    def _drop_entries(self) -> None:
        self._entries.clear()
        for key in list(self._fills):
            self._invalidate_fill(key)

    def _invalidate_fill(self, key: str) -> None:
        fill = self._fills.pop(key, None)
        if fill is not None:
            fill.is_valid = False

    def _evict(self) -> None:
        """Evict the entry that has gone longest without a read (second chance, as in CLOCK)."""
        spared = 0
        while len(self._entries) > self._config.size:
            key, entry = next(iter(self._entries.items()))
            del self._entries[key]
            if entry.is_used and spared < _MAX_SPARED:
                spared += 1
                entry.is_used = False
                self._entries[key] = entry
