"""Waiting for a condition, with an end: tests poll, they never sleep and hope."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


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
