"""When to stop: a signal, or the end of the process that started this one. Waiting that notices both at once.

Nothing is interrupted: a handler only notes the signal, and whoever waits or loops looks. So what
was begun is finished, at whatever moment the signal comes.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any, Final, Self

FROM_A_TERMINAL: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a command that somebody started: Ctrl-C, kill, and the end of the terminal."""

_NOHUP: Final = (signal.SIGHUP, signal.SIG_IGN)


class Stop:
    """A context in which these signals ask for an end, and so does the end of file of ``lifeline``.

    ``lifeline`` is a descriptor whose other end the starting process keeps open as long as it lives.
    """

    def __init__(self, signals: Iterable[signal.Signals], *, lifeline: int | None = None) -> None:
        # nohup ignores SIGHUP, and means it; a shell ignores SIGINT for whatever it starts in the background.
        self._signals = [number for number in signals if (number, signal.getsignal(number)) != _NOHUP]
        self._lifeline = lifeline
        self.count = 0
        """How many signals came."""
        self.first: signal.Signals | None = None
        self._abandoned = False

    def __enter__(self) -> Self:
        self._woken, self._wakes = os.pipe()
        os.set_blocking(self._wakes, False)
        os.set_blocking(self._woken, False)
        self._old_wakes = signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        self._old: dict[signal.Signals, Any] = {number: signal.signal(number, self._note) for number in self._signals}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakes)
        os.close(self._woken)
        os.close(self._wakes)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self.first = self.first or signal.Signals(number)

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self.count > 0 or self._abandoned

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until asked to stop; return whether to go on."""
        if not self.asked:
            self.pause(seconds)
        return not self.asked

    def pause(self, seconds: float) -> None:
        """Wait so long, or until one more signal comes, whether or not there was one before."""
        end = time.monotonic() + seconds
        seen = self.count
        while self.count == seen and not self._abandoned:
            left = end - time.monotonic()
            self._look(max(0.0, left))
            if left <= 0:
                return

    def _look(self, seconds: float) -> None:
        watched = [self._woken] if self._lifeline is None else [self._woken, self._lifeline]
        ready, _, _ = select.select(watched, [], [], seconds)
        if self._woken in ready:
            os.read(self._woken, 512)
        if self._lifeline in ready and not os.read(self._lifeline, 512):
            self._abandoned = True
