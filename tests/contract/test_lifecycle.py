"""Services that work in rounds have one lifecycle: run_once, run, start, stop, close; in both APIs."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import fakeredis
import pytest

import edge_redis
import edge_redis.aio
from edge_redis import ServiceClosedError, StoreUnavailableError
from edge_redis._io.loop import AsyncLoop, BlockingLoop, every
from support.clouds import Polled
from support.deadline import eventually
from support.servers import Backend

NAMES = ["CloudWorker", "HealthWatch", "TransitionRelay", "NamespaceWorkers"]
SIGNALS = [signal.SIGTERM, signal.SIGINT]


def ignore(_: object) -> None: ...


def construct(module: Any, name: str, client: Any) -> Any:
    if name == "CloudWorker":
        return module.CloudWorker(client, Polled(), poll_interval_seconds=0.01)
    if name == "NamespaceWorkers":
        return module.NamespaceWorkers(client, {"site": Polled()}, ["site"], poll_interval_seconds=0.01)
    if name == "HealthWatch":
        return module.HealthWatch(client, interval_seconds=0.01, lease_seconds=5.0)
    return module.TransitionRelay(client, ignore, interval_seconds=0.01)


def blocking(name: str) -> Any:
    return construct(edge_redis, name, fakeredis.FakeRedis())


def awaited(name: str) -> Any:
    return construct(edge_redis.aio, name, fakeredis.FakeAsyncRedis())


def working(service: Any) -> Any:
    """Return what does the rounds: of several workers, one of them."""
    return getattr(service, "workers", {}).get("site", service)


class Rounds:
    """Counts the rounds of a service, which then does nothing else."""

    def __init__(self, service: Any) -> None:
        self.count = 0
        service = working(service)
        service.run_once = self.arun_once if asyncio.iscoroutinefunction(service.run_once) else self.run_once

    def run_once(self) -> int:
        self.count += 1
        return 0

    async def arun_once(self) -> int:
        return self.run_once()


async def reach(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- nothing announces it
            await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    after = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


@pytest.mark.parametrize("name", NAMES)
class TestBlocking:
    def test_a_started_one_works_until_it_is_closed(self, name: str) -> None:
        service = blocking(name)
        rounds = Rounds(service)
        assert service.start() is service
        service.start()
        eventually(lambda: rounds.count > 2)
        service.close()
        count = rounds.count
        assert not [thread for thread in threading.enumerate() if thread.name == "edge-redis-loop"]
        assert rounds.count == count

    def test_a_started_one_lives_until_it_is_closed_also_where_nobody_keeps_it(self, name: str) -> None:
        service = blocking(name)
        rounds, kept = Rounds(service), weakref.ref(service)
        service.start()
        del service
        gc.collect()
        count = rounds.count
        eventually(lambda: rounds.count > count + 1)
        left: Any = kept()
        left.close()

    def test_one_that_is_closed_or_was_not_started_does_not_live_on(self, name: str, valkey: Backend) -> None:
        clients = [valkey.client(), valkey.client()]
        services = [construct(edge_redis, name, client) for client in clients]
        services[1].start().close()
        gone = [weakref.ref(service) for service in services]
        services.clear()
        gc.collect()
        assert [reference() for reference in gone] == [None, None]
        for client in clients:
            client.close()

    def test_it_runs_until_it_is_stopped_from_another_thread(self, name: str) -> None:
        with blocking(name) as service:
            rounds = Rounds(service)
            thread = threading.Thread(target=service.run)
            thread.start()
            eventually(lambda: rounds.count > 1)
            service.stop()
            thread.join(10)
            assert not thread.is_alive()

    def test_after_a_stop_run_returns_at_once_and_start_begins_again(self, name: str) -> None:
        with blocking(name) as service:
            rounds = Rounds(service)
            service.stop()
            service.run()
            assert rounds.count == 0
            service.start()
            eventually(lambda: rounds.count > 1)
            service.stop()
            service.start()
            count = rounds.count
            eventually(lambda: rounds.count > count)

    def test_a_closed_one_cannot_be_started(self, name: str) -> None:
        service = blocking(name)
        service.close()
        with pytest.raises(ServiceClosedError):
            service.start()
        service.run()

    @pytest.mark.parametrize("number", SIGNALS)
    def test_a_signal_ends_run_and_reaches_the_handler_of_the_application(self, name: str, number: int) -> None:
        received: list[int] = []
        signal.signal(number, lambda number, _: received.append(number))
        with blocking(name) as service:
            rounds = Rounds(service)
            threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
            service.run()
            assert received == [number]
            os.kill(os.getpid(), number)
            eventually(lambda: received == [number, number])
            assert rounds.count
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    def test_it_leaves_the_signals_alone_where_it_is_asked_to(self, name: str) -> None:
        before = [signal.getsignal(number) for number in SIGNALS]
        seen: list[Any] = []
        with blocking(name) as service:

            def run_once() -> int:
                seen.extend(signal.getsignal(number) for number in SIGNALS)
                service.stop()
                return 0

            working(service).run_once = run_once
            service.run(handle_signals=False)
        assert seen == before

    def test_it_may_be_closed_inside_a_round(self, name: str) -> None:
        service = blocking(name)
        closed = threading.Event()

        def run_once() -> int:
            service.close()
            closed.set()
            return 0

        working(service).run_once = run_once
        service.start()
        assert closed.wait(10)

    def test_a_forked_child_leaves_the_work_to_its_parent_and_may_start_its_own(self, name: str) -> None:
        with blocking(name) as service:
            rounds = Rounds(service)
            service.start()
            eventually(lambda: rounds.count)
            pid = os.fork()
            if pid == 0:
                count = rounds.count
                alone = threading.active_count() == 1
                service.start()
                eventually(lambda: rounds.count > count)
                os._exit(0 if alone else 1)
            assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("name", NAMES)
class TestAsyncio:
    def test_a_started_one_works_until_it_is_closed_also_where_nobody_keeps_it(self, name: str) -> None:
        async def main() -> None:
            service = awaited(name)
            rounds, kept = Rounds(service), weakref.ref(service)
            assert await service.start() is service
            await service.start()
            del service
            gc.collect()
            count = rounds.count
            await reach(lambda: rounds.count > count + 1)
            left: Any = kept()
            await left.close()
            count = rounds.count
            assert len(asyncio.all_tasks()) == 1
            assert rounds.count == count

        asyncio.run(main())

    def test_it_runs_until_it_is_stopped_from_another_thread(self, name: str) -> None:
        async def main() -> None:
            async with awaited(name) as service:
                rounds = Rounds(service)
                task = asyncio.create_task(service.run())
                await reach(lambda: rounds.count > 1)
                await asyncio.to_thread(service.stop)
                await asyncio.wait_for(task, 10)

        asyncio.run(main())

    def test_after_a_stop_run_returns_at_once_and_start_begins_again(self, name: str) -> None:
        async def main() -> None:
            async with awaited(name) as service:
                rounds = Rounds(service)
                service.stop()
                await service.run()
                assert rounds.count == 0
                await service.start()
                await reach(lambda: rounds.count > 1)

        asyncio.run(main())

    def test_a_closed_one_cannot_be_started(self, name: str) -> None:
        async def main() -> None:
            service = awaited(name)
            await service.close()
            with pytest.raises(ServiceClosedError):
                await service.start()
            await service.run()

        asyncio.run(main())

    def test_it_may_be_closed_inside_a_round(self, name: str) -> None:
        async def main() -> None:
            service = awaited(name)

            async def run_once() -> int:
                await service.close()
                return 0

            working(service).run_once = run_once
            await asyncio.wait_for(service.run(), 10)

        asyncio.run(main())

    @pytest.mark.parametrize("installed_by", ["signal", "loop"])
    @pytest.mark.parametrize("ended_by", ["signal", "stop", "cancel"])
    def test_a_signal_reaches_the_application_while_it_runs_and_afterwards(
        self, name: str, installed_by: str, ended_by: str
    ) -> None:
        received: list[int] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()
            if installed_by == "loop":
                loop.add_signal_handler(signal.SIGTERM, received.append, signal.SIGTERM)
            else:
                signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
            async with awaited(name) as service:
                rounds = Rounds(service)
                task = asyncio.create_task(service.run())
                await reach(lambda: rounds.count)
                if ended_by == "signal":
                    os.kill(os.getpid(), signal.SIGTERM)
                elif ended_by == "stop":
                    service.stop()
                else:
                    task.cancel()
                await asyncio.wait({task}, timeout=10)
                assert task.done()
                await reach(lambda: bool(received) == (ended_by == "signal"))
                count = len(received)
                os.kill(os.getpid(), signal.SIGTERM)
                await reach(lambda: len(received) == count + 1)
            if installed_by == "loop":
                loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

        asyncio.run(main())


@pytest.mark.parametrize("name", ["CloudWorker", "HealthWatch"])
def test_a_second_event_loop_may_start_it_again(name: str) -> None:
    service = awaited(name)
    rounds = Rounds(service)

    async def main() -> None:
        count = rounds.count
        await service.start()
        await reach(lambda: rounds.count > count)

    asyncio.run(main())
    asyncio.run(main())


def test_two_that_run_at_once_both_end_at_a_signal_and_give_the_handlers_back() -> None:
    received: list[int] = []

    async def main() -> None:
        signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
        async with awaited("CloudWorker") as first, awaited("HealthWatch") as second:
            tasks = [asyncio.create_task(each.run()) for each in (first, second)]
            await asyncio.sleep(0)
            first.stop()  # the one whose handler was installed first ends first
            await asyncio.wait_for(tasks[0], 10)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(tasks[1], 10)
        assert received == [signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGTERM)
        await reach(lambda: len(received) == 2)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    asyncio.run(main())


def test_a_handler_that_the_application_sets_meanwhile_stays() -> None:
    service = blocking("CloudWorker")

    def run_once() -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        service.stop()
        return 0

    service.run_once = run_once
    service.run()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_a_cancellation_that_a_round_swallows_ends_the_run() -> None:
    async def main() -> None:
        loop = AsyncLoop(every(60.0))
        inside = asyncio.Event()

        async def swallow() -> int:
            inside.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                """As the client library does now and then."""
            return 0

        task = asyncio.create_task(loop.run(swallow, handle_signals=False))
        await inside.wait()
        task.cancel()
        await asyncio.wait({task}, timeout=10)
        assert task.cancelled()

    asyncio.run(main())


def test_a_run_inside_a_task_that_was_cancelled_before_goes_on() -> None:
    async def main() -> None:
        loop = AsyncLoop(every(0.001))
        rounds = 0

        async def work() -> int:
            nonlocal rounds
            rounds += 1
            if rounds == 3:
                loop.stop()
            return 0

        async def clean_up_by_a_last_run() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await loop.run(work, handle_signals=False)

        task = asyncio.create_task(clean_up_by_a_last_run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait_for(task, 10)
        assert rounds == 3

    asyncio.run(main())


class Failing:
    """Work that raises these errors, one a round, and then succeeds."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors, self.went_on = list(errors), threading.Event()

    def __call__(self) -> int:
        if self.errors:
            raise self.errors.pop(0)
        self.went_on.set()
        return 0

    async def acall(self) -> int:
        return self()


def test_background_work_goes_on_after_any_error_and_logs_an_outage_once(caplog: pytest.LogCaptureFixture) -> None:
    work, loop = Failing(*[StoreUnavailableError("gone")] * 3, ZeroDivisionError("a bug")), BlockingLoop(every(0.001))
    loop.start(work)
    assert work.went_on.wait(10)
    assert loop.end()
    levels = [record.levelno for record in caplog.records if record.levelno > logging.DEBUG]
    assert levels == [logging.WARNING, logging.ERROR, logging.WARNING]
    assert "a bug" in caplog.text


def test_an_asyncio_task_goes_on_after_any_error(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        work, loop = Failing(StoreUnavailableError("gone"), ZeroDivisionError("a bug")), AsyncLoop(every(0.001))
        loop.start(work.acall)
        await reach(work.went_on.is_set)
        await loop.end()

    asyncio.run(main())
    assert "a bug" in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_a_thread_goes_on_after_an_error_that_would_end_it_unreported(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    work, loop = Failing(kind("of the work")), BlockingLoop(every(0.001))
    loop.start(work)
    assert work.went_on.wait(10)
    assert loop.end()
    assert "of the work" in caplog.text


@pytest.mark.parametrize("call", ["start", "run"])
def test_a_task_that_nobody_cancelled_goes_on_after_a_cancellation(call: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        work, loop = Failing(asyncio.CancelledError("of the work")), AsyncLoop(every(0.001))
        task = None
        if call == "start":
            loop.start(work.acall)
        else:
            task = asyncio.create_task(loop.run(work.acall, handle_signals=False))
        await reach(work.went_on.is_set)
        await loop.end()
        if task is not None:
            await task

    asyncio.run(main())
    assert "of the work" in caplog.text


@pytest.mark.parametrize("api", ["blocking", "asyncio"])
def test_an_unexpected_error_is_raised_by_run(api: str) -> None:
    work = Failing(StoreUnavailableError("gone"), ZeroDivisionError("a bug"))

    def run() -> None:
        if api == "blocking":
            BlockingLoop(every(0.001)).run(work, handle_signals=True)
        else:
            asyncio.run(AsyncLoop(every(0.001)).run(work.acall, handle_signals=True))

    with pytest.raises(ZeroDivisionError):
        run()


def test_a_process_ends_although_a_round_does_not() -> None:
    program = """
        import threading, fakeredis
        from edge_redis import EdgeNode, HealthMonitor, TransitionRelay
        from edge_redis._io import service
        service._LAST_ROUND_SECONDS = 0.2
        client, inside = fakeredis.FakeRedis(), threading.Event()
        def sink(change):
            inside.set()
            threading.Event().wait()
        TransitionRelay(client, sink, interval_seconds=0.01).start()
        monitor = HealthMonitor(client, 0.01, max_history=10)
        monitor.register(EdgeNode("n", "n"))
        while not inside.wait(0.02):
            monitor.check_node("n")
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
