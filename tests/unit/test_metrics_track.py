"""What is recorded of an invocation, and that its result is what it was."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from edge_redis import InvalidKeyError, InvalidTypeError, InvocationRecord, StoreUnavailableError
from edge_redis._metrics.stopwatch import Stopwatch, describe_error
from edge_redis._services.track import AsyncTrack, Track


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
    async def record(self, record: InvocationRecord) -> None:
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

    @track
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


def test_a_cancelled_coroutine_has_failed(kept: Blocking, track: Track) -> None:
    async def main() -> None:
        task = asyncio.create_task(track(asyncio.sleep)(60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (kept.only.success, kept.only.error) == (False, "CancelledError")


def test_a_generator_is_recorded_at_its_end_and_works_as_before(kept: Blocking, track: Track) -> None:
    @track
    def echo() -> Iterator[int]:
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
    def numbers(*, bad: bool) -> Iterator[int]:
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

    @track
    async def echo() -> AsyncIterator[Any]:
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
        AsyncTrack(kept, 5, "n")


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
    assert describe_error(error) == text
