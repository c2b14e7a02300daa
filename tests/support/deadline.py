"""Waiting for a condition, with an end: tests poll, they never sleep and hope."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")

CALL_SECONDS: Final = 10
"""How long one call may take; an endless loop takes longer."""


def eventually(condition: Callable[[], T], *, seconds: float = 10.0, every: float = 0.005) -> T:
    """Return the first true result of ``condition``; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            msg = f"not within {seconds} s: {condition} gave {result!r}"
            raise AssertionError(msg)
        time.sleep(every)


class HangError(BaseException):
    """Raised by the deadline of a call."""


@contextmanager
def deadline(what: str) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise HangError(what)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, CALL_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
