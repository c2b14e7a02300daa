"""SIGTERM and SIGINT as requests to stop, passed on to the application's own handlers.

One handler for each signal serves all blocks of ``stop_on_signals``. It is installed for the first
block. It calls every stop function and then the previous handler, which is put back at the end of
the last block. ``signal.signal`` is used in asyncio programs too: the loop calls the callbacks of
``loop.add_signal_handler`` whichever handler is installed.
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
    """The stop function of one block. It is collected with the block, even if an exception interrupts its end."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop = stop


_requests: weakref.WeakSet[_Request] = weakref.WeakSet()


@contextlib.contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on SIGTERM and SIGINT inside the block. Outside the main thread, do nothing: it gets no signals.

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
    if not requests:  # an exception interrupted the end of the last block, so this handler was not removed
        _restore()
    if callable(previous):
        if not (requests and _is_default(previous)):
            previous(number, frame)
    elif previous == signal.SIG_DFL and not requests:
        signal.raise_signal(number)


def _is_default(handler: Any) -> bool:
    """Return whether this is Python's own handler for Ctrl-C, and not the application's: a stop replaces it."""
    function = getattr(handler, "func", handler)
    return handler is signal.default_int_handler or getattr(function, "__module__", "") == "asyncio.runners"
