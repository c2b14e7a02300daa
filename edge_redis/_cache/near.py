"""A near cache: what a process keeps at hand of the cache that it shares.

Coherent by these rules:

- Nothing is held unless every ear is listening (``gained``): to the server's invalidation
  messages or to the writers' own. When one is lost everything goes.
- A read that fills is registered before it is sent. Word that the key was written, or a write
  by this process, ends the registration, and what the read brings is not kept ("Scaling
  Memcache at Facebook", Nishtala et al., NSDI 2013, has leases for the same race).
- Of several reads under way at once the newest entry stays: a put's generation tells.

A hit takes no lock and hands out nothing that the caller could change for others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final
from weakref import ReferenceType, ref

from edge_redis._cache.config import NearCache
from edge_redis._cache.envelope import HEADER, Opened
from edge_redis._cache.near_entry import NOTHING, Fill, Held, is_older, kept

_CHANCES: Final = 16
"""Entries that are passed over in one eviction, at most."""


class Near:
    """The entries that one process holds of one cache. Safe for threads and tasks."""

    def __init__(
        self,
        settings: NearCache,
        clock: Callable[[], float],
        new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._new_mutex = new_mutex
        self.reset()

    def reset(self) -> None:
        """Hold nothing and hear nothing: at first, and in a forked child."""
        self._mutex = self._new_mutex()
        self._entries: dict[str, Held] = {}
        self._suspended: dict[str, Held] = {}
        self._fills: dict[str, Fill] = {}
        self._ears = 0
        self._expected = 1
        self.needs_announcing = False
        """Whether an ear hears what writers tell, who must be asked to."""
        self.announced_since: Sequence[int] | None = None
        """Since when they tell without a break, at each shard; None where they have not been asked."""

    @property
    def is_listening(self) -> bool:
        """Whether word of writes is heard, so that entries can be held."""
        return 0 < self._expected == self._ears

    def __len__(self) -> int:
        """Return how many entries are held."""
        return len(self._entries)

    def held(self, key: str) -> Any:
        """Return the value of ``key`` where it is at hand, noting a hit; else NOTHING, also for what is no key."""
        try:
            entry = self._entries.get(key)
        except TypeError:  # it has no hash
            return NOTHING
        if entry is None or entry.expires <= self._clock():
            return NOTHING
        entry.used = True
        entry.noted(entry.note)
        fresh = entry.fresh
        return entry.value if fresh is None else fresh()

    def held_with_time(self, key: str) -> tuple[Any, float, int | None]:
        """Return what ``held`` does, the seconds the entry has to live, and what it cost to compute."""
        entry = self._entries.get(key)
        value = self.held(key)
        if entry is None or value is NOTHING:
            return NOTHING, 0.0, None
        return value, entry.ends - self._clock(), entry.cost_ms

    def last_known(self, key: str) -> Any:
        """Return the value held when the connection was lost, for as long as it would have been; else NOTHING.

        For one whose server is gone and who would rather have this than nothing. That may be known before it is
        heard of here: then the value is one that is held.
        """
        entry = self._suspended.get(key) or self._entries.get(key)
        if entry is None or entry.expires <= self._clock():
            return NOTHING
        return entry.value if entry.fresh is None else entry.fresh()

    def begin(self, key: str) -> Fill:
        """Register a read of ``key`` that is about to be sent."""
        with self._mutex:
            fill = self._fills.setdefault(key, Fill())
            fill.readers += 1
            return fill

    def end(self, key: str, fill: Fill) -> None:
        """End the registration of a read, whatever it brought."""
        with self._mutex:
            fill.readers -= 1
            if not fill.readers and self._fills.get(key) is fill:
                del self._fills[key]

    def keep(self, key: str, fill: Fill, entry: Held) -> None:
        """Hold what a registered read has brought, unless something newer is known."""
        with self._mutex:
            if not fill.live:
                # It may be newer all the same than what a read that began since is about to bring.
                self._saw(key, entry.generation)
            elif fill.has_seen_newer(entry.generation):
                return
            elif self.is_listening:
                self._entries[key] = entry
                self._evict()
            elif key in self._suspended:
                self._suspended[key] = entry  # it was read since

    def made(
        self, key: str, opened: Opened, raw: bytes, noted: Callable[[tuple[str, int]], object], ends: float
    ) -> Held:
        """Return the entry of ``raw``, which opens, whose time in Redis is up at ``ends``."""
        held = Held()
        held.generation, value, held.cost_ms = opened
        held.value, held.fresh = kept(value, raw[HEADER:])
        held.ends = ends
        held.expires = min(ends, self._clock() + self._settings.ttl)
        held.note, held.noted, held.used = (key, held.generation), noted, False
        return held

    def saw(self, key: str, generation: int | None) -> None:
        """Know that a read found this generation, None for no entry: nothing older is held any longer."""
        with self._mutex:
            self._saw(key, generation)

    def _saw(self, key: str, generation: int | None) -> None:
        for entries in (self._entries, self._suspended):
            known = entries.get(key)
            if known is not None and (generation is None or is_older(known.generation, generation)):
                del entries[key]
        if generation is None:
            self._end_fill(key)
        elif key in self._fills:
            self._fills[key].has_seen_newer(generation)

    def forget(self, key: str) -> None:
        """Hold ``key`` no longer: somebody wrote it."""
        with self._mutex:
            self._entries.pop(key, None)
            self._suspended.pop(key, None)
            self._end_fill(key)

    def forget_many(self, keys: Iterable[str] | None) -> None:
        """Hold these keys no longer, all where None."""
        if keys is None:
            self.forget_all()
            return
        for key in keys:
            self.forget(key)

    def forget_all(self) -> None:
        """Hold nothing of what there was."""
        with self._mutex:
            self._empty()
            self._suspended.clear()

    def expect(self, ears: int) -> None:
        """Hold nothing until so many ears listen: one a master of the server."""
        with self._mutex:
            self._ears, self._expected = 0, ears
            self.needs_announcing = False
            self._empty()

    def gained(self) -> None:
        """Count one ear more that listens."""
        with self._mutex:
            self._ears += 1
            self._begin()

    def ask(self) -> None:
        """Count one ear that hears what writers tell, once they are asked to."""
        with self._mutex:
            self.needs_announcing, self.announced_since = True, None

    def announced(self, since: Sequence[int]) -> None:
        """Know since when writers tell what they write. Where it is not since before, something went untold."""
        with self._mutex:
            if self.needs_announcing and since != self.announced_since:
                self.announced_since = since
                self._ears = self._expected
                self._begin()

    def doubt(self) -> None:
        """Hold nothing until writers are known to tell what they write."""
        with self._mutex:
            self._ears, self.announced_since = 0, None
            self._empty()

    def lost(self) -> None:
        """Hold nothing for lack of an ear; what was held is there for ``last_known``."""
        with self._mutex:
            if self.is_listening:
                self._suspended = dict(self._entries)
            self._ears = 0
            self.needs_announcing, self.announced_since = False, None
            self._empty()

    def _begin(self) -> None:
        self._empty()
        self._suspended.clear()

    def _empty(self) -> None:
        self._entries.clear()
        for key in list(self._fills):
            self._end_fill(key)

    def _end_fill(self, key: str) -> None:
        fill = self._fills.pop(key, None)
        if fill is not None:
            fill.live = False

    def _evict(self) -> None:
        """Let go what has waited longest without being read (second chance, as in CLOCK)."""
        chances = _CHANCES
        while len(self._entries) > self._settings.size:
            key, entry = next(iter(self._entries.items()))
            del self._entries[key]
            if entry.used and chances:
                chances -= 1
                entry.used = False
                self._entries[key] = entry


class Copies:
    """The near caches that a process has of one cache: what it writes, all of them forget."""

    def __init__(self, new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._mutex = new_mutex()
        self._known: tuple[ReferenceType[Near], ...] = ()

    def add(self, near: Near) -> None:
        """Know one more, for as long as somebody holds it."""
        with self._mutex:
            self._known = (*(known for known in self._known if known() is not None), ref(near))

    def forget(self, keys: Iterable[str] | None) -> None:
        """Have all of them forget these keys, all keys where None."""
        for known in self._known:
            near = known()
            if near is not None:
                near.forget_many(keys)
