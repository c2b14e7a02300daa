"""An exception between any two lines of the service layer (Ctrl-C, a time limit) leaves services usable."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Any

import fakeredis
import pytest

from edge_redis import (
    CloudWorker,
    EdgeCache,
    EdgeMetrics,
    EdgeRedis,
    EdgeSynchronizer,
    HealthWatch,
    InvocationRecord,
    ServiceClosedError,
    TransitionRelay,
    aio,
)
from support.clouds import Polled
from support.deadline import eventually

MODULES = "service engine lifecycle loop signals shutdown ticker ticker_threads background blocking_listener"
LAYER = ("/edge_redis/_services/", *(f"/edge_redis/_io/{name}.py" for name in MODULES.split()))
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
RECORD = InvocationRecord("f", "n", 1.0, success=True)


class Interruption(BaseException):
    """Raised as a signal handler raises it."""


def interrupt(call: Callable[[], object], at_line: int) -> bool:
    """Run ``call`` and raise at the ``at_line``-th line of the layer; return whether the call came so far."""
    lines = 0

    def on_line(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == at_line:
                sys.settrace(None)
                raise Interruption
        return on_line

    def on_call(frame: FrameType, _event: str, _argument: object) -> Any:
        return on_line if any(part in frame.f_code.co_filename for part in LAYER) else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        call()
    except Interruption:
        pass
    finally:
        sys.settrace(before)
    return lines >= at_line  # a finalizer that the garbage collector ran in the middle does not raise


def at_every_line(scenario: Callable[[int], bool], *, at_least: int, stride: int = 1) -> None:
    """Run a scenario, which returns whether it was interrupted, at each line until it is not."""
    line = 1
    while scenario(line):
        line += stride
    assert line > at_least, "the layer was not traced"


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("edge-redis-")]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    yield
    eventually(lambda: not own_threads())
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_while_it_is_constructed() -> None:
    def scenario(line: int) -> bool:
        client = fakeredis.FakeRedis()
        was_interrupted = interrupt(lambda: EdgeMetrics(client).close(), line)
        with EdgeMetrics(client) as metrics:
            metrics.record(RECORD)
            assert metrics.total_invocations() == 1
        return was_interrupted

    at_every_line(scenario, at_least=20)


def test_while_the_background_work_starts() -> None:
    def scenario(line: int) -> bool:
        client = fakeredis.FakeRedis()
        with EdgeMetrics(client, flush_interval=0.005) as metrics:
            was_interrupted = interrupt(lambda: metrics.record(RECORD), line)
            metrics.record(RECORD)
            other = EdgeMetrics(client)
            eventually(lambda: len(other.recent()) >= 1)  # a tick flushed it
            other.close()
        return was_interrupted

    at_every_line(scenario, at_least=10)


def test_while_it_is_closed() -> None:
    def scenario(line: int) -> bool:
        client = fakeredis.FakeRedis()
        metrics = EdgeMetrics(client, flush_interval=60.0)
        metrics.record(RECORD)
        was_interrupted = interrupt(metrics.close, line)
        try:
            metrics.record(RECORD)
            recorded = 2
        except ServiceClosedError:
            recorded = 1
        metrics.close()
        metrics.close()
        assert not own_threads()
        with EdgeMetrics(client) as other:
            assert other.total_invocations() == recorded
        return was_interrupted

    at_every_line(scenario, at_least=10)


def test_while_a_bundle_makes_and_closes_its_services() -> None:
    def scenario(line: int) -> bool:
        client = fakeredis.FakeRedis()
        edge = EdgeRedis(client)

        def use() -> None:
            edge.cache.put("k", 1)
            edge.metrics.record(RECORD)
            edge.synchronizer("s").update_local({"a": 1})
            edge.close()

        was_interrupted = interrupt(use, line)
        edge.close()
        with EdgeRedis(client) as again:
            again.cache.put("k", 2)
            assert again.cache.get("k") == 2
            assert again.metrics.total_invocations() <= 1
        return was_interrupted

    at_every_line(scenario, at_least=50, stride=5)


def test_while_a_near_cache_begins_to_listen() -> None:
    def scenario(line: int) -> bool:
        client = fakeredis.FakeRedis()
        with EdgeCache(client, near_cache=True) as cache:
            was_interrupted = interrupt(lambda: cache.contains("k"), line)
            cache.contains("k")
            eventually(lambda: cache.stats()["near_listening"])
        return was_interrupted

    at_every_line(scenario, at_least=20, stride=3)


def ignore(_: object) -> None: ...


SERVICES: dict[str, Callable[[Any], Any]] = {
    "CloudWorker": lambda client: CloudWorker(client, Polled(), poll_interval_seconds=0.005),
    "HealthWatch": lambda client: HealthWatch(client, interval_seconds=0.005, lease_seconds=5.0),
    "TransitionRelay": lambda client: TransitionRelay(client, ignore, interval_seconds=0.005),
}


class Rounds:
    """Counts the rounds of a service, which then does nothing else."""

    def __init__(self, service: Any) -> None:
        self.count, self.stop_at = 0, 0
        self._service = service
        service.run_once = self.run_once

    def run_once(self) -> int:
        self.count += 1
        if self.stop_at and self.count >= self.stop_at:
            self._service.stop()
        return 0


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("method", ["start", "stop", "close"])
def test_while_it_is_started_stopped_or_closed(name: str, method: str) -> None:
    def scenario(line: int) -> bool:
        service = SERVICES[name](fakeredis.FakeRedis())
        rounds = Rounds(service)
        if method != "start":
            service.start()
        was_interrupted = interrupt(getattr(service, method), line)
        if method == "start":
            count = rounds.count
            service.start()
            eventually(lambda: rounds.count > count)
        elif method == "stop":
            service.stop()
        service.close()
        eventually(lambda: not own_threads())
        with pytest.raises(ServiceClosedError):
            service.start()
        return was_interrupted

    at_every_line(scenario, at_least=3)


@pytest.mark.parametrize("name", SERVICES)
def test_while_it_runs_in_the_foreground(name: str) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))

    def scenario(line: int) -> bool:
        service = SERVICES[name](fakeredis.FakeRedis())
        rounds = Rounds(service)
        rounds.stop_at = 2
        was_interrupted = interrupt(service.run, line)
        received.clear()
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with SERVICES[name](fakeredis.FakeRedis()) as other:
            again = Rounds(other)
            again.stop_at = 2
            other.run()
            assert again.count == 2
        service.close()
        return was_interrupted

    try:
        at_every_line(scenario, at_least=15)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_while_a_worker_is_at_work() -> None:
    def scenario(line: int) -> bool:
        client = fakeredis.FakeRedis()
        edge = EdgeSynchronizer(client, scope="s", namespace="n")
        edge.update_local({"a": 1})
        with CloudWorker(client, client, namespace="n", claim_idle_seconds=0.001) as worker:
            was_interrupted = interrupt(worker.run_once, line)
        with CloudWorker(client, client, namespace="n", claim_idle_seconds=0.001) as worker:
            eventually(lambda: [worker.run_once(), edge.is_synced][1])
        return was_interrupted

    at_every_line(scenario, at_least=5)


async def cancel(awaitable: Awaitable[object], after_steps: int) -> bool:
    """Await something in a task that is cancelled after so many steps of the loop; return whether that came first."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(after_steps):
        await asyncio.sleep(0)
    was_cancelled = task.cancel()
    await asyncio.wait({task})
    return was_cancelled


async def tasks_have_ended() -> None:
    while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 -- a ticker that close() cancelled ends in the next step
        await asyncio.sleep(0)


@pytest.mark.parametrize("method", ["record", "flush", "close"])
def test_cancelling_a_call_of_an_asyncio_service_at_any_step_loses_nothing(method: str) -> None:
    async def scenario(steps: int) -> bool:
        client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        metrics = aio.EdgeMetrics(client, flush_interval=60.0)
        await metrics.record(RECORD)
        call = metrics.record(RECORD) if method == "record" else getattr(metrics, method)()
        was_cancelled = await cancel(call, steps)
        await metrics.close()
        await metrics.close()
        async with aio.EdgeMetrics(client) as other:
            expected = {1, 2} if method == "record" else {1}
            assert await other.total_invocations() in expected
        await tasks_have_ended()
        return was_cancelled

    steps = 0
    while asyncio.run(scenario(steps)):
        steps += 1
    assert steps > 0


@pytest.mark.parametrize("name", ["CloudWorker", "HealthWatch"])
def test_cancelling_start_run_or_close_of_an_asyncio_service_leaves_it_closable(name: str) -> None:
    async def scenario(method: str, steps: int) -> None:
        client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        service: Any = aio.CloudWorker(client, client) if name == "CloudWorker" else aio.HealthWatch(client)
        if method == "close":
            await service.start()
        await cancel(getattr(service, method)(), steps)
        await service.close()
        await tasks_have_ended()

    for method in ("start", "run", "close"):
        for steps in range(12):
            asyncio.run(scenario(method, steps))
