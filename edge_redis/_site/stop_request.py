"""Requests to stop, by signal or by the end of the parent process, and waiting that ends with either.

Nothing is interrupted: a signal handler only records the signal, and loops look at the record. So
work that has begun is finished, at whatever moment the signal arrives.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any, Final, Protocol, Self

TERMINAL_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command: Ctrl-C, kill, and the end of the terminal."""

_IGNORED_HANGUP: Final = (signal.SIGHUP, signal.SIG_IGN)


class Stop(Protocol):
    """A request to stop that a loop looks at."""

    @property
    def signal_count(self) -> int:
        """Number of signals received; more than one: wait for nothing."""

    @property
    def first_signal(self) -> signal.Signals | None:
        """The first signal; None where a stop was requested by other means, or not at all."""

    @property
    def is_requested(self) -> bool:
        """Whether a stop was requested."""

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds``, or until a stop is requested; return whether to continue."""

    def pause(self, seconds: float) -> None:
        """Wait up to ``seconds``, or until another request, even when a stop was already requested."""


class StopFlag:
    """A stop that another thread of this process requests."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.signal_count = 0
        """Number of requests."""
        self.first_signal: signal.Signals | None = None

    def request(self, number: signal.Signals | None = None) -> None:
        """Request a stop, because of a signal where one is given."""
        with self._changed:
            if not self.signal_count:
                self.first_signal = number
            self.signal_count += 1
            self._changed.notify_all()

    @property
    def is_requested(self) -> bool:
        """Whether a stop was requested."""
        return self.signal_count > 0

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds``, or until a stop is requested; return whether to continue."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_requested, max(0.0, seconds))
        return not self.is_requested

    def pause(self, seconds: float) -> None:
        """Wait up to ``seconds``, or until another request, even when a stop was already requested."""
        with self._changed:
            seen = self.signal_count
            self._changed.wait_for(lambda: self.signal_count > seen, max(0.0, seconds))


class StopRequest:
    """A context in which any of the given signals requests a stop, and so does end of file on ``parent_pipe``.

    ``parent_pipe`` is a descriptor whose other end the parent process keeps open while it lives.
    """

    def __init__(self, signals: Iterable[signal.Signals], *, parent_pipe: int | None = None) -> None:
        # An ignored SIGHUP stays ignored (nohup). An ignored SIGINT does not: shells ignore it for background jobs.
        self._signals = [number for number in signals if (number, signal.getsignal(number)) != _IGNORED_HANGUP]
        self._parent_pipe = parent_pipe
        self.signal_count = 0
        """Number of signals received."""
        self.first_signal: signal.Signals | None = None
        self._is_orphaned = False

    def __enter__(self) -> Self:
        self._wakeup_read, self._wakeup_write = os.pipe()
        os.set_blocking(self._wakeup_write, False)
        os.set_blocking(self._wakeup_read, False)
        self._previous_wakeup = signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        self._previous_handlers: dict[signal.Signals, Any] = {
            number: signal.signal(number, self._record_signal) for number in self._signals
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_wakeup)
        os.close(self._wakeup_read)
        os.close(self._wakeup_write)

    def _record_signal(self, number: int, _frame: FrameType | None) -> None:
        self.signal_count += 1
        self.first_signal = self.first_signal or signal.Signals(number)

    @property
    def is_requested(self) -> bool:
        """Whether a stop was requested."""
        return self.signal_count > 0 or self._is_orphaned

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds``, or until a stop is requested; return whether to continue."""
        if not self.is_requested:
            self.pause(seconds)
        return not self.is_requested

    def pause(self, seconds: float) -> None:
        """Wait up to ``seconds``, or until another signal arrives, even when a stop was already requested."""
        end = time.monotonic() + seconds
        seen = self.signal_count
        while self.signal_count == seen and not self._is_orphaned:
            left = end - time.monotonic()
            self._poll(max(0.0, left))
            if left <= 0:
                return

    def _poll(self, seconds: float) -> None:
        watched = [self._wakeup_read] if self._parent_pipe is None else [self._wakeup_read, self._parent_pipe]
        ready, _, _ = select.select(watched, [], [], seconds)
        if self._wakeup_read in ready:
            os.read(self._wakeup_read, 512)
        if self._parent_pipe in ready and not os.read(self._parent_pipe, 512):
            self._is_orphaned = True
