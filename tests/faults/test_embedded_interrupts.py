"""Ctrl-C at every moment of a start or an end: no process, no port and no folder stays behind.

First at every line of our own code and of the standard library's that starts the watchdog, one
after the other, by a trace function; then by real signals at moments spread over the call.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from edge_redis import embedded
from support.deadline import eventually
from support.processes import within

pytestmark = pytest.mark.exploration

FAST = {"hz": "100"}
"""A server looks for SIGTERM once a tick."""
GONE_SECONDS = 30.0
"""More than the watchdog's own patience before SIGKILL."""
TRACED = (str(Path(embedded.__file__).parent), subprocess.__file__)
REAL_MOMENTS = 40


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with warnings.catch_warnings():
        # What an interrupted call had open is closed by the collector, which complains.
        warnings.simplefilter("ignore", ResourceWarning)
        yield tmp_path
        gc.collect()


def nothing_is_left(folder: Path) -> bool:
    gc.collect()
    return not within(folder) and not list(folder.glob("edge-redis-*"))


class InterruptAtLine:
    """Raises KeyboardInterrupt at the ``number``-th line that runs within the files of interest."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.place = ""

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(TRACED):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                self.place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._trace

    def run(self, call: Callable[[], Any]) -> bool:
        """Return whether ``call`` was interrupted, and not over before."""
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            call()
        except KeyboardInterrupt:
            sys.settrace(before)
            return True
        finally:
            sys.settrace(before)
        return False


def at_every_line(step: int, prepare: Callable[[], tuple[Callable[[], Any], Any]], folder: Path) -> int:
    """Interrupt what ``prepare`` returns at every ``step``-th of its lines; return how many there were."""
    number = 1
    while True:
        call, kept = prepare()
        interrupt = InterruptAtLine(number)
        interrupted = interrupt.run(call)
        owner: Callable[[], Any] = weakref.ref(kept) if kept else lambda: None
        del call, kept
        gc.collect()
        leaked = owner()
        if leaked is not None:
            # CPython leaks the frames where a trace function raises in a `with` that handles an error.
            leaked.stop()
        try:
            eventually(lambda: nothing_is_left(folder), seconds=GONE_SECONDS)
        except AssertionError as error:
            left = within(folder) + list(map(str, folder.iterdir()))
            raise AssertionError(f"interrupted at {interrupt.place}: {left}") from error
        if not interrupted:
            return number
        number += step


# Every line takes many minutes; every 31st, which visits each phase, takes seconds. 1 is for a change to that code.
STEPS = [int(os.environ.get("EDGE_REDIS_LINE_STEP", "31"))]


# An interruption within a destructor is reported, and otherwise ignored, by the interpreter.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", STEPS)
class TestAtEveryLine:
    def test_of_start(self, folder: Any, step: Any) -> None:
        def prepare() -> Any:
            def call() -> None:
                with embedded.start(config=FAST):
                    sys.settrace(None)

            return call, None

        assert at_every_line(step, prepare, folder) > 100

    @pytest.mark.parametrize("method", ["stop", "kill", "restart"])
    def test_of_an_end(self, folder: Any, step: Any, method: Any) -> None:
        def prepare() -> Any:
            server = embedded.start(config=FAST)
            return getattr(server, method), server

        assert at_every_line(step, prepare, folder) > 10

    def test_of_an_end_that_is_called_again(self, folder: Any, step: Any) -> None:
        def prepare() -> Any:
            server = embedded.start(config=FAST)

            def call() -> None:
                try:
                    server.stop()
                finally:
                    sys.settrace(None)
                    server.stop()
                    assert not within(folder)

            return call, server

        assert at_every_line(step, prepare, folder) > 10


class TestByRealSignals:
    @pytest.fixture(autouse=True)
    def _usr1_is_ctrl_c(self) -> Iterator[Any]:
        # Not SIGINT itself: pytest would end the session on one that comes too late.
        before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
        yield
        signal.signal(signal.SIGUSR1, before)

    @pytest.mark.parametrize("is_at_stop", [False, True], ids=["start", "stop"])
    def test_at_moments_spread_over_the_call(self, folder: Any, is_at_stop: Any) -> None:
        began = time.monotonic()
        embedded.start(config=FAST).stop()
        whole = time.monotonic() - began
        interrupted = 0
        for moment in range(REAL_MOMENTS):
            interrupted += self._interrupted_after(whole * moment / REAL_MOMENTS, is_at_stop=is_at_stop)
            eventually(lambda: nothing_is_left(folder), seconds=GONE_SECONDS)
        assert interrupted > REAL_MOMENTS // 8

    @staticmethod
    def _interrupted_after(seconds: float, *, is_at_stop: bool) -> bool:
        hit = threading.Event()

        def interrupt() -> None:
            os.kill(os.getpid(), signal.SIGUSR1)
            hit.set()

        server = embedded.start(config=FAST) if is_at_stop else None
        timer = threading.Timer(seconds, interrupt)
        try:
            timer.start()
            (server or embedded.start(config=FAST)).stop()
            hit.wait(10)
            time.sleep(0)  # where a late signal is taken
        except KeyboardInterrupt:
            timer.join()
            return True
        return False
