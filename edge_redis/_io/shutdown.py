"""Flushes buffers at the end of the process, and of services that are dropped; resets them in forked children.

This module refers to a service's *engine* (``engine.py``) until it is closed, so that a service that
is dropped without ``close`` loses nothing: the next tick, or the end of the interpreter, makes the
last flush. It is not made by the service's finalizer, because the garbage collector may run at any
moment, even inside a call of the client.

A ``multiprocessing`` child leaves by ``os._exit``, which skips ``atexit``, so multiprocessing's own
finalizers are used there. A forked child drops what its parent buffered, since the parent sends it.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import weakref
from multiprocessing import util
from typing import Protocol

from edge_redis._core.component import Component

_log = logging.getLogger("edge_redis")


class Engine(Protocol):
    """The engine of a service, as this module sees it."""

    component: Component
    dropped: bool
    buffers: bool

    def stop(self) -> object:
        """Stop the background work, without a flush."""

    def at_exit(self) -> None:
        """Flush, and end."""

    def after_fork(self) -> None:
        """Reset state in a forked child."""


_running: set[Engine] = set()
_finalized_in: list[int] = []


def watch(service: object, engine: Engine) -> None:
    """Keep ``engine`` until it is closed: flush it at the end of the process, and reset it in forked children."""
    # Not at exit: every engine is flushed there.
    weakref.finalize(service, _drop, engine).atexit = False
    _finalize_here()
    _running.add(engine)  # last: if this is interrupted there is no service, whose end would remove the engine


def _finalize_here(_: object = None) -> None:
    if _finalized_in != [os.getpid()]:
        _finalized_in[:] = [os.getpid()]
        util.Finalize(None, _end, exitpriority=100)


def forget(engine: Engine) -> None:
    """Stop keeping ``engine``: it is closed."""
    _running.discard(engine)


def warn_of_unflushed(component: Component) -> None:
    """Log what a service that is being closed could not deliver, where its component raises no error for that."""
    if not component.has_flushed:
        _log.warning("lost at close: %s: the server did not take them", component.describe_unflushed())


def _drop(engine: Engine) -> None:
    engine.dropped = True
    if not engine.buffers:
        forget(engine)


def _end() -> None:
    reported: set[str] = set()
    for engine in list(_running):
        reason = "the server did not take them"
        try:
            engine.at_exit()
        except Exception as error:  # noqa: BLE001 -- the other engines are flushed all the same
            reason = str(error) or repr(error)
        forget(engine)
        lost = engine.component.describe_unflushed()
        if lost and lost not in reported:  # services of one namespace share a buffer
            reported.add(lost)
            _log.warning("lost at exit: %s: %s", lost, reason)


def _after_fork() -> None:
    for engine in list(_running):
        engine.after_fork()


def new_mutex() -> contextlib.AbstractContextManager[object]:
    """Return a lock for state that several threads use."""
    return threading.Lock()


atexit.register(_end)
os.register_at_fork(after_in_child=_after_fork)
# multiprocessing drops the finalizers that a forked child inherits, and a child that only uses its parent's services
# makes no new ones.
util.register_after_fork(_end, _finalize_here)
