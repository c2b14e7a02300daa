"""What must happen to buffers when a service is dropped, or a process ends or forks.

A service and what it buffers live apart: the *engine* (a subject, its runner and its ticker)
is held here until it is closed, so that a service which was merely dropped loses nothing. Its
last flush is the ticker's next one, or that at interpreter exit; none is made where the service
is collected, since the garbage collector may run in the middle of anything, a client included.

A ``multiprocessing`` child leaves by ``os._exit`` and skips ``atexit``, so it is served by
multiprocessing's own finalizers. A forked child forgets what its parent buffered: the parent
sends it.
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


class Engine(Protocol):
    """What drives a service, as this module sees it."""

    dropped: bool
    buffers: bool

    def at_exit(self) -> None:
        """Flush, and end."""

    def after_fork(self) -> None:
        """Be new, in a forked child."""


_running: set[Engine] = set()
_finalized_in: list[int] = []


def watch(service: object, engine: Engine) -> None:
    """Flush ``engine`` when the process ends, tell it of forks, and when ``service`` was dropped."""
    _running.add(engine)
    # At exit the engines' own turn comes; a finalizer then would say "dropped" and no more.
    weakref.finalize(service, _drop, engine).atexit = False
    _finalize_here()


def _finalize_here(_: object = None) -> None:
    if _finalized_in != [os.getpid()]:
        _finalized_in[:] = [os.getpid()]
        util.Finalize(None, _end, exitpriority=100)


def forget(engine: Engine) -> None:
    """Leave ``engine`` alone from now on: it is closed."""
    _running.discard(engine)


def _drop(engine: Engine) -> None:
    engine.dropped = True
    if not engine.buffers:
        forget(engine)


def _end() -> None:
    for engine in list(_running):
        try:
            engine.at_exit()
        except (EdgeRedisError, RuntimeError) as error:
            warnings.warn(f"what was buffered could not be sent at exit: {error}", ResourceWarning, stacklevel=1)
        forget(engine)


def _after_fork() -> None:
    for engine in list(_running):
        engine.after_fork()


def new_mutex() -> contextlib.AbstractContextManager[object]:
    """Return a lock for state that several threads touch."""
    return threading.Lock()


atexit.register(_end)
os.register_at_fork(after_in_child=_after_fork)
# A child that multiprocessing forks drops the finalizers it inherits; one that only uses its
# parent's services makes none of its own.
util.register_after_fork(_end, _finalize_here)
