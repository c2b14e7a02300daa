"""Objects that all services of a process on the same server share."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_LOOPBACK = {"localhost": "127.0.0.1", "::1": "127.0.0.1"}


def server_identity(client: Hashable) -> Hashable:
    """Return a key that is equal for clients of the same database of the same server.

    One server under two host names counts as two.
    """
    pool: Any = getattr(client, "connection_pool", None)
    if pool is None:  # a cluster client: its nodes change, the client is what stays
        return client
    known: dict[str, Any] = pool.connection_kwargs
    database = known.get("db") or 0
    if known.get("server") is not None:  # an in-process server
        return known["server"], database
    if known.get("path"):
        return known["path"], database
    if known.get("host"):
        host = known["host"]
        return _LOOPBACK.get(host, host), known.get("port"), database
    if manager := getattr(pool, "sentinel_manager", None):
        return _sentinels_of(manager), pool.service_name, pool.is_master, database
    by_pool: Hashable = pool
    return by_pool


def _sentinels_of(manager: Any) -> frozenset[tuple[Any, Any]]:
    options = (each.connection_pool.connection_kwargs for each in manager.sentinels)
    return frozenset((each.get("host"), each.get("port")) for each in options)


class Shared(Generic[T]):
    """One object for each server and name, kept while it is referenced."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._reset()
        self._known: weakref.WeakValueDictionary[tuple[Hashable, str], T] = weakref.WeakValueDictionary()

    def _reset(self) -> None:
        self._mutex = threading.Lock()
        self._pid = os.getpid()  # last: until it is set, each thread of a forked child resets

    def get(self, client: Hashable, name: str) -> T:
        """Return the object of this client's server and ``name``."""
        if self._pid != os.getpid():  # another thread of the parent may have held the lock
            self._reset()
        key = (server_identity(client), name)
        with self._mutex:
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = self._make()
            return found
