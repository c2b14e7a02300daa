"""A read that is given up after a time, since a server that hangs answers only once the socket times out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, TypeVar

T = TypeVar("T")


class TimedRead(Generic[T]):
    """Runs a function in a daemon thread. While one call hangs, later ones wait for it rather than add a thread."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._mutex = threading.Lock()
        self._hanging: Future[T] | None = None

    def __call__(self, timeout_seconds: float) -> T | None:
        """Return the function's result; None where there is none within ``timeout_seconds``."""
        with self._mutex:
            future = self._hanging
        if future is None or future.done():
            future = self._start()
        try:
            return future.result(timeout_seconds)
        except FutureTimeoutError:
            if future.done():  # the function itself raised it
                raise
            with self._mutex:
                self._hanging = future
            return None

    def _start(self) -> Future[T]:
        future: Future[T] = Future()
        threading.Thread(target=self._run, args=(future,), name="edge-redis-export", daemon=True).start()
        return future

    def _run(self, future: Future[T]) -> None:
        try:
            future.set_result(self._function())
        except BaseException as error:  # noqa: BLE001 -- raised in the thread that waits
            future.set_exception(error)
