"""The adaptive eviction order in plain Python: lists that are sorted at each use.

A second implementation of edge_redis/_cache/lua/include/adaptive.lua, whose words it uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

TIERS = 3
MAX_STEP = 3
MAX_WINDOW = 0.95
CREDITS_PER_HIT = 4
PROMOTING_READS = 2


@dataclass
class Entry:
    tier: int | None
    """Of main; None in the window."""
    recency: int
    count: int = 0


class Adaptive:
    """Who is in a cache of ``size`` entries."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.entries: dict[str, Entry] = {}
        self.ghosts: dict[str, tuple[int, bool]] = {}
        self.sequence = 0
        self.tier = 0
        self.window = self._share(0.1)
        self.credits = 0

    def _share(self, part: float) -> int:
        return max(1, int(self.size * part))

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence

    def _move(self, steps: int) -> None:
        step = max(1, min(MAX_STEP, self.size // 50))
        self.window = min(self._share(MAX_WINDOW), max(self._share(0.01), self.window + steps * step))

    def _widen(self) -> None:
        if self.credits >= 1:
            self.credits -= 1
            self._move(1)

    def _in_window(self) -> list[str]:
        """The window's entries, the oldest first."""
        return sorted((k for k, e in self.entries.items() if e.tier is None), key=lambda k: self.entries[k].recency)

    def _level(self, entry: Entry) -> int:
        assert entry.tier is not None
        return (entry.tier - self.tier) % TIERS

    def _rank(self, key: str) -> tuple[int, int, int]:
        entry = self.entries[key]
        return self._level(entry), entry.recency, entry.count

    def _in_main(self) -> list[str]:
        """Main's entries, the next victim first."""
        return sorted((k for k, e in self.entries.items() if e.tier is not None), key=self._rank)

    def count(self, batch: Iterable[tuple[str, int]]) -> None:
        """Take in hits, merged by key, in the order of the last one of each."""
        main = self._in_main()
        about_to_go = {key: self._rank(key) for key in main}
        near = self._share(0.1)
        mark = about_to_go[main[near]] if len(main) > near else (TIERS, 0, 0)
        for key, hits in batch:
            entry = self.entries.get(key)
            if entry is None:
                continue
            if entry.tier is not None:
                if self._rank(key) < mark:
                    self._move(-1)
                entry.tier = (self.tier + TIERS - 1) % TIERS
            else:
                self.credits = min(self.size, self.credits + CREDITS_PER_HIT * hits)
            entry.recency, entry.count = self._next(), entry.count + hits

    def put(self, key: str) -> None:
        """Put an entry, evicting at most one."""
        known = self.entries.get(key)
        if known is not None:
            known.recency, known.count = self._next(), 0
            return
        admitted = self._on_ghost_hit(key)
        moves = 2
        if len(self.entries) >= self.size:
            self._evict()
            moves = 1
        for _ in range(moves):
            window = self._in_window()
            if len(window) >= self.window:
                self._promote(window[0])
        self.entries[key] = Entry((self.tier + 1) % TIERS if admitted else None, self._next())

    def _on_ghost_hit(self, key: str) -> bool:
        if key not in self.ghosts:
            return False
        main = self._in_main()
        admitted = bool(main) and self.ghosts[key][0] > self.entries[main[0]].recency
        newest = sorted(self.ghosts, key=self.ghosts.__getitem__, reverse=True)
        if not self.ghosts[key][1] and newest.index(key) < self._share(0.1):
            self._widen()
        del self.ghosts[key]
        return admitted

    def _promote(self, key: str) -> None:
        entry = self.entries[key]
        entry.tier = (self.tier + min(max(entry.count - 1, 0), TIERS - 1)) % TIERS

    def _evict(self) -> None:
        window, main = self._in_window(), self._in_main()
        if len(window) < self.window:
            self._evict_key(main[0])
        elif self.entries[window[0]].count < PROMOTING_READS or not main:
            self._evict_key(window[0])
        else:
            self._evict_key(main[0])
            self._promote(window[0])

    def _evict_key(self, key: str) -> None:
        entry = self.entries.pop(key)
        of_main = entry.tier is not None
        if of_main:
            self.tier = (self.tier + self._level(entry)) % TIERS
        self.ghosts[key] = entry.recency, of_main
        if len(self.ghosts) > int(self.size * 1.5):
            del self.ghosts[min(self.ghosts, key=self.ghosts.__getitem__)]

    def remove(self, key: str) -> None:
        """Delete an entry: it leaves no ghost."""
        self.entries.pop(key, None)
