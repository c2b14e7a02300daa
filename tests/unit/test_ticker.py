"""What ticks in the background goes on after any error, on threads or a task that all services share."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing
from unittest import mock

import pytest

from edge_redis import StoreError
from edge_redis._io.ticker import TaskTicker, ThreadTicker
from edge_redis._io.ticker_task import ticker_task_of
from edge_redis._io.ticker_threads import HELD_UP_SECONDS
from support.deadline import eventually

ERRORS = [StoreError("away"), ZeroDivisionError("a bug"), SystemExit("of a callback")]
LEVELS = [logging.WARNING, logging.ERROR, logging.ERROR]


def own_threads() -> int:
    return sum(thread.name == "edge-redis-ticker" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    eventually(lambda: not own_threads())


def test_a_thread_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    errors, went_on = list[BaseException](ERRORS), threading.Event()

    def tick() -> None:
        if errors:
            raise errors.pop(0)
        went_on.set()

    ticker = ThreadTicker(0.001, tick)
    ticker.ensure_running()
    assert went_on.wait(30)
    ticker.stop()
    assert [record.levelno for record in caplog.records] == LEVELS
    assert "a bug" in caplog.text


def test_a_task_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        errors, went_on = list(ERRORS[:2]), asyncio.Event()

        async def tick() -> None:
            if errors:
                raise errors.pop(0)
            went_on.set()

        ticker = TaskTicker(0.001, tick)
        ticker.ensure_running()
        await asyncio.wait_for(went_on.wait(), 30)
        ticker.stop()

    asyncio.run(scenario())
    assert [record.levelno for record in caplog.records] == LEVELS[:2]
    assert "a bug" in caplog.text


class Ticks:
    """Tickers that count their calls."""

    def __init__(self, lanes: int, per_lane: int) -> None:
        self.counts = [0] * (lanes * per_lane)
        self.tickers = [
            ThreadTicker(0.001, self._counter(index), lane=index // per_lane) for index in range(len(self.counts))
        ]
        for ticker in self.tickers:
            ticker.ensure_running()

    def _counter(self, index: int) -> Callable[[], None]:
        def count() -> None:
            self.counts[index] += 1

        return count

    def all_go_on(self, indices: range) -> None:
        before = list(self.counts)
        eventually(lambda: all(self.counts[index] > before[index] + 1 for index in indices))

    def stop(self) -> None:
        for ticker in self.tickers:
            ticker.stop()


def test_many_tickers_of_one_server_share_two_threads_and_closing_one_ends_none_of_the_others() -> None:
    ticks = Ticks(lanes=1, per_lane=300)
    ticks.all_go_on(range(300))
    assert own_threads() == 2
    ticks.tickers[7].stop()
    stopped_at = ticks.counts[7]
    ticks.all_go_on(range(8, 300))
    assert ticks.counts[7] == stopped_at
    ticks.stop()
    assert own_threads() == 0


def test_while_there_is_nothing_to_do_one_thread_waits_for_all() -> None:
    asked = threading.Event()

    def is_due() -> bool:
        asked.set()
        return False

    tickers = [ThreadTicker(0.001, lambda: pytest.fail("nothing is due"), is_due=is_due) for _ in range(50)]
    for ticker in tickers:
        ticker.ensure_running()
    assert asked.wait(10)
    assert own_threads() == 1
    for ticker in tickers:
        ticker.stop()


def test_calls_that_do_not_end_hold_up_others_for_a_bounded_time_and_those_of_other_servers_not_at_all() -> None:
    end, began = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        began.release()
        end.wait(30)

    hanging = [ThreadTicker(0.001, hang, lane=0) for _ in range(3)]
    for ticker in hanging:
        ticker.ensure_running()
    for _ in hanging:
        assert began.acquire(timeout=3 * HELD_UP_SECONDS + 10)
    ticks = Ticks(lanes=2, per_lane=5)
    ticks.all_go_on(range(5, 10))
    ticks.all_go_on(range(5))
    stopper = threading.Thread(target=hanging[0].stop)
    stopper.start()
    stopper.join(0.02)
    assert stopper.is_alive(), "stop() returned while a call was under way"
    end.set()
    stopper.join(10)
    assert not stopper.is_alive()
    for ticker in hanging:
        ticker.stop()
    ticks.stop()


def test_a_call_may_stop_its_own_ticker_and_a_ticker_may_be_started_again_by_nobody() -> None:
    stopped = threading.Event()

    def stop() -> None:
        ticker.stop()
        stopped.set()

    ticker = ThreadTicker(0.001, stop)
    ticker.ensure_running()
    assert stopped.wait(10)
    ticker.ensure_running()
    eventually(lambda: not own_threads())


def test_tickers_that_are_started_and_stopped_by_many_threads_at_once_all_tick() -> None:
    def use() -> None:
        for _ in range(30):
            ticked = threading.Event()
            ticker = ThreadTicker(0.0005, ticked.set)
            ticker.ensure_running()
            results.append(ticked.wait(10))
            ticker.stop()

    results: list[bool] = []
    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 120


def test_a_forked_child_has_no_thread_and_may_start_its_own() -> None:
    ticks = Ticks(lanes=1, per_lane=2)
    ticks.all_go_on(range(2))
    pid = os.fork()
    if pid == 0:
        alone = threading.active_count() == 1
        for ticker in ticks.tickers:
            ticker.after_fork()
            ticker.ensure_running()
        ticks.all_go_on(range(2))
        ticks.stop()
        os._exit(0 if alone else 1)
    assert os.waitpid(pid, 0)[1] == 0
    ticks.all_go_on(range(2))
    ticks.stop()


def test_many_tickers_of_a_loop_share_a_task_and_a_call_that_does_not_end_holds_up_none() -> None:
    async def scenario() -> None:
        counts = [0] * 100

        def counter(index: int) -> Callable[[], Awaitable[object]]:
            async def count() -> None:
                counts[index] += 1
                if not index:
                    await asyncio.Event().wait()

            return count

        tickers = [TaskTicker(0.001, counter(index)) for index in range(100)]
        for ticker in tickers:
            ticker.ensure_running()
        async with asyncio.timeout(10):
            while min(counts[1:]) < 3:  # noqa: ASYNC110 -- nothing announces it
                await asyncio.sleep(0.001)
        assert counts[0] == 1
        waiting = [task for task in asyncio.all_tasks() if task.get_name() == "edge-redis-ticker"]
        assert len(waiting) == 1
        ending = {task for ticker in tickers for task in ticker.stop()}
        await asyncio.wait(ending)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_a_ticker_that_cannot_tell_whether_it_is_due_is_called_and_ends_no_other_of_its_loop() -> None:
    def is_due() -> bool:
        raise RuntimeError("a bug")

    async def scenario() -> None:
        called, went_on = asyncio.Event(), asyncio.Event()

        async def tick(event: asyncio.Event) -> None:
            event.set()

        tickers = [TaskTicker(0.001, lambda: tick(called), is_due=is_due), TaskTicker(0.002, lambda: tick(went_on))]
        for ticker in tickers:
            ticker.ensure_running()
        async with asyncio.timeout(10):
            await called.wait()
            await went_on.wait()
        await asyncio.wait({task for ticker in tickers for task in ticker.stop()})

    asyncio.run(scenario())


def test_a_loop_may_get_its_task_while_another_thread_looks_for_closed_loops() -> None:
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(closing(asyncio.new_event_loop())) for _ in range(3))
        answers = iter([lambda: ticker_task_of(third)])

        def is_closed() -> bool:
            next(answers, lambda: None)()
            return False

        ticker_task_of(first)
        with mock.patch.object(first, "is_closed", is_closed):
            assert ticker_task_of(second) is ticker_task_of(second)
        assert ticker_task_of(third) is not ticker_task_of(first)
