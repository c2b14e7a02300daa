"""Stopping: nothing is interrupted, and no wait outlasts what ends it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from edge_redis._site.stop_request import StopRequest


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    with StopRequest([signal.SIGUSR1, signal.SIGUSR2]) as made:
        yield made


def soon(number: signal.Signals) -> None:
    """Send this process a signal in a while."""
    threading.Timer(0.1, os.kill, (os.getpid(), number)).start()


def test_a_wait_that_nothing_ends_lasts_its_time(stop: StopRequest) -> None:
    begun = time.monotonic()
    assert stop.wait(0.1) is True
    assert time.monotonic() - begun >= 0.1
    assert stop.wait(-5.0) is True
    assert (stop.is_requested, stop.signal_count, stop.first_signal) == (False, 0, None)


def test_a_signal_ends_a_wait_and_every_later_one_at_once(stop: StopRequest) -> None:
    begun = time.monotonic()
    soon(signal.SIGUSR2)
    assert stop.wait(30.0) is False
    assert stop.wait(30.0) is False
    assert time.monotonic() - begun < 10
    assert (stop.is_requested, stop.signal_count, stop.first_signal) == (True, 1, signal.SIGUSR2)


def test_a_signal_before_the_wait_counts(stop: StopRequest) -> None:
    signal.raise_signal(signal.SIGUSR1)
    assert stop.wait(30.0) is False


def test_a_pause_goes_on_after_the_first_signal_and_ends_with_the_next(stop: StopRequest) -> None:
    signal.raise_signal(signal.SIGUSR1)
    begun = time.monotonic()
    stop.pause(0.1)
    assert time.monotonic() - begun >= 0.1
    soon(signal.SIGUSR2)
    stop.pause(30.0)
    assert time.monotonic() - begun < 10
    assert (stop.signal_count, stop.first_signal) == (2, signal.SIGUSR1)


def test_the_end_of_the_lifeline_ends_a_wait() -> None:
    ours, theirs = os.pipe()
    with StopRequest([signal.SIGUSR1], parent_pipe=ours) as stop:
        assert stop.wait(0.01) is True
        os.write(theirs, b"words that mean nothing here")
        assert stop.wait(0.01) is True
        os.close(theirs)
        assert stop.wait(30.0) is False
        stop.pause(30.0)
        assert (stop.is_requested, stop.signal_count) == (True, 0)
    os.close(ours)


def test_nohup_is_respected_and_a_background_job_still_hears_of_sigint() -> None:
    old = [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)]
    try:
        with StopRequest([signal.SIGHUP, signal.SIGINT]) as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.is_requested is False
            signal.raise_signal(signal.SIGINT)
            assert stop.first_signal is signal.SIGINT
    finally:
        for number, handler in zip((signal.SIGHUP, signal.SIGINT), old, strict=True):
            signal.signal(number, handler)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with StopRequest([signal.SIGUSR1]):
        assert signal.getsignal(signal.SIGUSR1) != before
    assert signal.getsignal(signal.SIGUSR1) == before
    assert signal.set_wakeup_fd(-1) == -1
