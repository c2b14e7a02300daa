"""What must happen to services when a process ends or forks.

At interpreter exit every open service is closed, so that buffers are flushed; a
``multiprocessing`` child leaves by ``os._exit`` and skips ``atexit``, so it is served by
multiprocessing's own finalizers. A forked child forgets what its parent buffered: the
parent sends it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import warnings
import weakref
from multiprocessing import util
from typing import Protocol

from edge_redis.errors import EdgeRedisError


class Mortal(Protocol):
    """A service as this module sees it."""

    def _at_exit(self) -> None: ...
    def _after_fork(self) -> None: ...


_alive: weakref.WeakSet[Mortal] = weakref.WeakSet()
_finalized_in: list[int] = []


def watch(service: Mortal) -> None:
    """Close ``service`` when the process ends, and tell it of forks."""
    _alive.add(service)
    if _finalized_in != [os.getpid()]:
        _finalized_in[:] = [os.getpid()]
        util.Finalize(None, _end, exitpriority=100)


def forget(service: Mortal) -> None:
    """Leave ``service`` alone from now on: it is closed."""
    _alive.discard(service)


def _end() -> None:
    for service in list(_alive):
        try:
            service._at_exit()  # noqa: SLF001 -- the protocol above
        except (EdgeRedisError, RuntimeError) as error:
            warnings.warn(f"{service!r} could not be closed at exit: {error}", ResourceWarning, stacklevel=1)


def _after_fork() -> None:
    for service in list(_alive):
        service._after_fork()  # noqa: SLF001 -- the protocol above


def new_mutex() -> contextlib.AbstractContextManager[object]:
    """Return a lock for state that several threads touch."""
    return threading.Lock()


atexit.register(_end)
os.register_at_fork(after_in_child=_after_fork)
