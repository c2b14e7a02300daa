"""SIGTERM and SIGINT as requests to stop, passed on to the application's own handlers.

One handler a signal serves all that run. It is installed for the first of them, calls every stop
function and then the handler that was there before, which is put back when the last has ended. It
is set by ``signal.signal`` in asyncio programs, too: callbacks that the application registered
with ``loop.add_signal_handler`` are called by the loop, whichever handler is installed.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_previous: dict[int, Any] = {}


class _Request:
    """One block's wish to be stopped. It lives as long as the block, however that ends."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop = stop


_requests: weakref.WeakSet[_Request] = weakref.WeakSet()


@contextlib.contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on SIGTERM and SIGINT inside the block. Outside the main thread, where Python has none, do nothing.

    ``stop`` is called inside a signal handler: it may not wait for a lock.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    request = _Request(stop)
    try:
        _requests.add(request)
        _install()
        yield
    finally:
        _requests.discard(request)
        if not _requests:
            _restore()


def _install() -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) is not _handle:
            _previous[number] = signal.getsignal(number)
            signal.signal(number, _handle)


def _restore() -> None:
    for number in _SIGNALS:
        # A handler that the application has set meanwhile stays.
        if signal.getsignal(number) is _handle:
            signal.signal(number, _previous[number])


def _handle(number: int, frame: FrameType | None) -> None:
    requests, previous = list(_requests), _previous[number]
    for request in requests:
        request.stop()
    if not requests:  # an exception interrupted the end of the last block
        _restore()
    if callable(previous):
        if not (requests and _is_default(previous)):
            previous(number, frame)
    elif previous == signal.SIG_DFL and not requests:
        signal.raise_signal(number)


def _is_default(handler: Any) -> bool:
    """Return whether this is Python's own handler for Ctrl-C, which a stop replaces: no application's."""
    function = getattr(handler, "func", handler)
    return handler is signal.default_int_handler or getattr(function, "__module__", "") == "asyncio.runners"
