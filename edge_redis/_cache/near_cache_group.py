"""All near caches of one namespace in a process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from weakref import ReferenceType, ref

from edge_redis._cache.near_entries import NearEntries


class NearCacheGroup:
    """The near caches of one namespace in this process. A write by this process invalidates all of them."""

    def __init__(self, new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._new_mutex = new_mutex
        self.after_fork()
        self._members: tuple[ReferenceType[NearEntries], ...] = ()

    def after_fork(self) -> None:
        """Reset state in a forked child, whose parent may have held the lock."""
        self._mutex = self._new_mutex()

    def add(self, near: NearEntries) -> None:
        """Add a near cache, for as long as it is referenced elsewhere."""
        with self._mutex:
            self._members = (*(member for member in self._members if member() is not None), ref(near))

    def invalidate(self, keys: Iterable[str] | None) -> None:
        """Drop the entries of ``keys`` in all of them; all entries where None."""
        for member in self._members:
            near = member()
            if near is not None:
                near.invalidate(keys)
