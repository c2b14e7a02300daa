"""What is recorded of an invocation, and that its result is what it was."""

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import fakeredis
import pytest

from edge_redis import EdgeMetrics, InvalidKeyError, InvalidTypeError, InvocationRecord, StoreUnavailableError
from edge_redis._core.error_text import describe_error
from edge_redis._metrics.records import MAX_ERROR_CHARS
from edge_redis._metrics.spans import Stopwatch
from edge_redis._services.track import AsyncTrack, Track
from support.metrics import buffer_of

F = TypeVar("F", bound=Callable[..., Any])


class Decorator(Protocol):
    """What both kinds of trackers are: something that returns a function of the same type."""

    def __call__(self, function: F) -> F: ...


class Blocking:
    """Keeps what is recorded."""

    def __init__(self, error: Exception | None = None) -> None:
        self.records: list[InvocationRecord] = []
        self.error = error

    def record(self, record: InvocationRecord) -> None:
        self.records.append(record)
        if self.error is not None:
            raise self.error

    @property
    def only(self) -> InvocationRecord:
        (record,) = self.records
        return record


class Awaited(Blocking):
    async def record(self, record: InvocationRecord) -> None:  # type: ignore[override] # the asyncio form
        super().record(record)


@pytest.fixture
def kept() -> Blocking:
    return Blocking()


@pytest.fixture
def track(kept: Blocking) -> Track:
    return Track(kept, "f", "n")


def both(kept: type[Blocking] = Blocking) -> list[tuple[Blocking, Track | AsyncTrack]]:
    one, two = Blocking(), Awaited()
    return [(one, Track(one, "f", "n")), (two, AsyncTrack(two, "f", "n"))]


def decorator(track: Track | AsyncTrack) -> Decorator:
    return track


def test_the_clock_is_the_one_given() -> None:
    times = iter([10.0, 10.25, 5.0, 4.0])
    watch = Stopwatch("f", "n", lambda: next(times))
    record = watch.stop(watch.start(), None)
    assert (record.function_id, record.node_id, record.duration_ms, record.success, record.error) == (
        "f",
        "n",
        250.0,
        True,
        "",
    )
    assert watch.stop(watch.start(), ValueError("x")).duration_ms == 0.0  # never negative


def test_a_block_is_recorded(kept: Blocking, track: Track) -> None:
    with track:
        pass
    assert (kept.only.function_id, kept.only.node_id, kept.only.success) == ("f", "n", True)
    assert 0.0 <= kept.only.duration_ms < 1000.0


def test_an_error_is_recorded_and_raised_on_unchanged(kept: Blocking, track: Track) -> None:
    error = ValueError("no")
    with pytest.raises(ValueError, match="no") as caught, track:
        raise error
    assert caught.value is error
    assert caught.value.__context__ is None
    assert (kept.only.success, kept.only.error) == (False, "ValueError: no")


def test_a_function_is_recorded_for_every_call(kept: Blocking, track: Track) -> None:
    @track
    def half(number: int, *, of: int = 2) -> float:
        """Halve."""
        return number / of

    assert (half(4), half(9, of=3)) == (2.0, 3.0)
    with pytest.raises(ZeroDivisionError):
        half(1, of=0)
    assert [record.success for record in kept.records] == [True, True, False]
    assert (half.__name__, half.__doc__) == ("half", "Halve.")
    assert list(inspect.signature(half).parameters) == ["number", "of"]


def test_calls_within_calls_are_recorded_each(kept: Blocking, track: Track) -> None:
    @track
    def down(number: int) -> int:
        return 0 if number == 0 else 1 + down(number - 1)

    assert down(4) == 4
    assert len(kept.records) == 5


@pytest.mark.parametrize("index", [0, 1])
def test_coroutine_functions_are_recorded_when_they_end(index: int) -> None:
    kept, track = both()[index]

    @decorator(track)
    async def wait(what: str) -> str:
        await asyncio.sleep(0)
        if what == "bad":
            raise KeyError(what)
        return what

    assert inspect.iscoroutinefunction(wait)
    assert asyncio.run(wait("x")) == "x"
    with pytest.raises(KeyError):
        asyncio.run(wait("bad"))
    assert [(record.success, record.error) for record in kept.records] == [(True, ""), (False, "KeyError: 'bad'")]


@pytest.mark.parametrize("index", [0, 1])
def test_async_blocks_are_recorded(index: int) -> None:
    kept, track = both()[index]

    async def block() -> None:
        async with track:
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        asyncio.run(block())
    assert kept.only.error == "OSError: gone"


def test_a_cancelled_coroutine_has_not_failed(kept: Blocking, track: Track) -> None:
    async def main() -> None:
        task = asyncio.create_task(track(asyncio.sleep)(60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (kept.only.success, kept.only.error) == (True, "")


@pytest.mark.parametrize(
    ("error", "success"),
    [
        (SystemExit(), True),
        (SystemExit(0), True),
        (SystemExit(2), False),
        (SystemExit("no"), False),
        (KeyboardInterrupt(), False),
        (GeneratorExit(), True),
        (StopIteration(), False),
    ],
)
def test_an_exit_is_an_error_unless_its_status_is_0(
    kept: Blocking, track: Track, error: BaseException, *, success: bool
) -> None:
    with pytest.raises(type(error)), track:
        raise error
    assert kept.only.success is success


class Times:
    """A clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.now)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    return Times(monkeypatch)


def test_one_object_times_nested_blocks(times: Times, kept: Blocking) -> None:
    track = Track(kept, "f", "n")
    with track:
        times.now = 3.0
        with track:
            times.now = 4.0
        times.now = 6.0
    assert [record.duration_ms for record in kept.records] == [1000.0, 6000.0]


def test_one_object_times_blocks_of_generators_that_interleave(times: Times, kept: Blocking) -> None:
    track = Track(kept, "f", "n")

    def block() -> Generator[None, None, None]:
        with track:
            yield

    first, second = block(), block()
    next(first)
    times.now = 1.0
    next(second)
    times.now = 5.0
    first.close()
    times.now = 7.0
    second.close()
    assert [record.duration_ms for record in kept.records] == [5000.0, 6000.0]


def test_one_object_times_blocks_of_exit_stacks(times: Times, kept: Blocking) -> None:
    track = Track(kept, "f", "n")
    with ExitStack() as outer:
        outer.enter_context(track)
        times.now = 1.0
        with ExitStack() as inner:
            inner.enter_context(track)
            times.now = 3.0
        times.now = 10.0
    assert [record.duration_ms for record in kept.records] == [2000.0, 10_000.0]


def test_threads_share_one_object(kept: Blocking) -> None:
    track = Track(kept, "f", "n")
    barrier = threading.Barrier(2)

    def work(seconds: float) -> None:
        with track:
            barrier.wait(10)
            time.sleep(seconds)

    threads = [threading.Thread(target=work, args=(seconds,)) for seconds in (0.0, 0.2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    short, long = (record.duration_ms for record in kept.records)
    assert long - short > 150


def enter_directly(track: Track | AsyncTrack, _: AsyncExitStack) -> AbstractAsyncContextManager[object]:
    return track


@asynccontextmanager
async def enter_stack(track: Track | AsyncTrack, stack: AsyncExitStack) -> AsyncIterator[None]:
    await stack.enter_async_context(track)
    yield
    await stack.aclose()


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("enter", [enter_directly, enter_stack])
def test_tasks_share_one_object(times: Times, index: int, enter: Any) -> None:
    kept, track = both()[index]

    async def work(begin: asyncio.Event, end: asyncio.Event) -> None:
        await begin.wait()
        async with enter(track, AsyncExitStack()):
            await end.wait()

    async def main() -> None:
        events = [asyncio.Event() for _ in range(10)]
        tasks = [asyncio.create_task(work(events[begin], events[end])) for begin, end in ((0, 4), (1, 2), (3, 9))]
        for second, event in enumerate(events):
            times.now = float(second)
            event.set()
            for _ in range(10):
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert [record.duration_ms for record in kept.records] == [1000.0, 4000.0, 6000.0]


def test_an_exit_without_an_entry_does_nothing(kept: Blocking, track: Track) -> None:
    track.__exit__(None, None, None)
    assert kept.records == []


def test_awaitable_results_are_timed_to_their_end(times: Times, kept: Blocking) -> None:
    async def wait() -> str:
        await asyncio.sleep(0)
        times.now += 2.0
        return "done"

    class Waiter:
        async def __call__(self) -> str:
            return await wait()

    track = Track(kept, "f", "n")
    for function in (wait, lambda: wait(), partial(wait), Waiter()):  # noqa: PLW0108 -- a lambda is the case
        assert asyncio.run(track(function)()) == "done"
    assert [record.duration_ms for record in kept.records] == [2000.0] * 4
    awaited = Awaited()
    for function in (partial(wait), Waiter()):
        assert asyncio.run(AsyncTrack(awaited, "f", "n")(function)()) == "done"
    assert [record.duration_ms for record in awaited.records] == [2000.0] * 2


def test_an_unexpected_error_of_recording_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with fakeredis.FakeRedis() as client, EdgeMetrics(client, namespace="unexpected") as metrics:
        buffer = buffer_of(metrics)
        records, buffer.records = buffer.records, None  # type: ignore[assignment] # the case
        assert metrics.track("f")(lambda: 7)() == 7
        with metrics.track("f"):
            pass
        buffer.records = records
    assert caplog.text.count("was not delivered: 'NoneType'") == 2


class TimeLimit(Exception):  # noqa: N818 -- as job queues name theirs
    """Raised by the signal handler of a job queue."""


class Limited(Blocking):
    """Is interrupted by a time limit while it records."""

    def record(self, record: InvocationRecord) -> None:
        raise TimeLimit


def test_a_time_limit_that_interrupts_recording_reaches_the_job() -> None:
    with pytest.raises(TimeLimit):
        Track(Limited(), "f", "n")(lambda: 7)()


def test_a_generator_is_recorded_at_its_end_and_works_as_before(kept: Blocking, track: Track) -> None:
    @track
    def echo() -> Generator[int, int, int]:
        got = yield 1
        try:
            yield got
        except LookupError:
            yield -1
        return 9

    made = echo()
    assert (next(made), made.send(5), made.throw(LookupError())) == (1, 5, -1)
    assert kept.records == []
    with pytest.raises(StopIteration) as end:
        next(made)
    assert end.value.value == 9
    assert kept.only.success


def test_a_generator_that_is_closed_early_has_not_failed_and_one_that_raises_has(kept: Blocking, track: Track) -> None:
    @track
    def numbers(*, bad: bool) -> Generator[int, None, None]:
        yield 1
        if bad:
            raise ValueError("bad")
        yield 2

    made = numbers(bad=False)
    next(made)
    made.close()
    with pytest.raises(ValueError, match="bad"):
        list(numbers(bad=True))
    assert [record.success for record in kept.records] == [True, False]


@pytest.mark.parametrize("index", [0, 1])
def test_an_async_generator_works_as_before(index: int) -> None:
    kept, track = both()[index]
    closed = []

    @decorator(track)
    async def echo() -> AsyncGenerator[Any, Any]:
        try:
            got = yield 1
            try:
                yield got
            except LookupError:
                yield -1
        finally:
            closed.append(True)

    async def whole() -> None:
        made = echo()
        assert (await anext(made), await made.asend(5), await made.athrow(LookupError())) == (1, 5, -1)
        assert kept.records == []
        with pytest.raises(StopAsyncIteration):
            await anext(made)

    async def half() -> None:
        made = echo()
        await anext(made)
        await made.aclose()

    async def failing() -> None:
        made = echo()
        await anext(made)
        with pytest.raises(OSError, match="x"):
            await made.athrow(OSError("x"))

    for case in (whole, half, failing):
        asyncio.run(case())
    assert [record.success for record in kept.records] == [True, True, False]
    assert closed == [True] * 3


def test_a_store_that_is_away_changes_nothing_for_the_function(caplog: pytest.LogCaptureFixture) -> None:
    kept = Blocking(StoreUnavailableError("away"))
    assert Track(kept, "f", "n")(lambda: 7)() == 7
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, Track(kept, "f", "n"):
        raise error
    assert caught.value is error
    assert caplog.text.count("was not delivered: away") == 2
    awaited = Awaited(StoreUnavailableError("away"))
    asyncio.run(AsyncTrack(awaited, "f", "n")(asyncio.sleep)(0))
    assert awaited.only.success


def test_what_cannot_be_tracked_is_refused(kept: Blocking) -> None:
    bad: Any
    for bad in (7, None, "f"):
        with pytest.raises(InvalidTypeError, match="function must be"):
            Track(kept, "f", "n")(bad)
    with pytest.raises(InvalidTypeError, match="coroutine function"):
        AsyncTrack(kept, "f", "n")(len)
    with pytest.raises(InvalidKeyError):
        Track(kept, "", "n")
    with pytest.raises(InvalidKeyError):
        Track(kept, "f", "")
    with pytest.raises(InvalidTypeError):
        AsyncTrack(kept, 5, "n")  # type: ignore[arg-type] # bad input


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("x"), "ValueError: x"),
        (ValueError(), "ValueError"),
        (MuteError(), "MuteError"),
        (OSError("\ud800"), "OSError: \\ud800"),
        (ValueError("é" * 2000), "ValueError: " + "é" * 988),
    ],
)
def test_errors_are_described(error: Exception, text: str) -> None:
    assert describe_error(error, MAX_ERROR_CHARS) == text
