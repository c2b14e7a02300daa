"""What ticks in the background goes on after any error, and says what it was."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from edge_redis import StoreError
from edge_redis._io.ticker import TaskTicker, ThreadTicker

ERRORS = [StoreError("away"), ZeroDivisionError("a bug")]


def test_a_thread_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    errors, went_on = list(ERRORS), threading.Event()

    def tick() -> None:
        if errors:
            raise errors.pop(0)
        went_on.set()

    ticker = ThreadTicker(0.001, tick)
    ticker.ensure_running()
    assert went_on.wait(30)
    ticker.stop()
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
    assert "a bug" in caplog.text


def test_a_task_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        errors, went_on = list(ERRORS), asyncio.Event()

        async def tick() -> None:
            if errors:
                raise errors.pop(0)
            went_on.set()

        ticker = TaskTicker(0.001, tick)
        ticker.ensure_running()
        await asyncio.wait_for(went_on.wait(), 30)
        ticker.stop()

    asyncio.run(scenario())
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
    assert "a bug" in caplog.text
