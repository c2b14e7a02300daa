"""Operations: requests to the server as values, which the coroutines of components await.

Nothing here talks to a server. A component's method is an ordinary coroutine that awaits
operations, the other steps defined here, and nothing else. A runner drives it, performs each step
and sends the result back in. So the same coroutine runs on a blocking client, on an asyncio
client, or one step at a time under a test scheduler::

    async def double(key: str) -> int:
        value = await get(key)           # an Operation[int]
        await put(key, value * 2)
        return value * 2

An operation yields itself to whatever drives the coroutine, so a coroutine of this kind must be
run by a runner and never be awaited on an asyncio event loop directly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from inspect import CORO_SUSPENDED, getcoroutinestate
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from edge_redis._core.replication import Replication
    from edge_redis._core.script import Script

T = TypeVar("T")
U = TypeVar("U")

Argument: TypeAlias = str | bytes | int | float


class Operation(Generic[T]):
    """One command or script call and how to read its reply: atomic, one round trip.

    ``args`` go to the server as they are. ``script`` is set where they are an EVALSHA,
    so that a runner can send the source to a server that does not know it.
    """

    __slots__ = ("args", "decode", "script")

    replication: Replication | None = None
    """What ``ReplicatedOperation`` waits for after the write."""

    is_shielded = False
    """Whether it is performed to its end also where its caller is cancelled meanwhile."""

    def __init__(
        self,
        args: tuple[Argument, ...],
        decode: Callable[[Any], T],
        script: Script | None = None,
    ) -> None:
        self.args = args
        self.decode = decode
        self.script = script

    def __await__(self) -> Generator[Step, Any, T]:
        result: T = yield self
        return result

    def __repr__(self) -> str:
        return f"<Operation {self}>"

    def __str__(self) -> str:
        """Return the name that error messages have: of the script, or of the command."""
        return self.script.name if self.script else str(self.args[0])


class ShieldedOperation(Operation[T]):
    """An operation by which a caller that was cancelled frees others: a next cancellation must not stop it."""

    __slots__ = ()

    is_shielded = True

    def __init__(self, operation: Operation[T]) -> None:
        super().__init__(operation.args, operation.decode, operation.script)


class Batch(Generic[T]):
    """Operations sent together, in one round trip where the server allows it; the results in order.

    Each is atomic by itself, the batch is not. The first error is raised after all have run; with
    ``return_exceptions`` the error of an operation is its result instead. If the server does not
    know the script of an operation, that operation is sent again, after the others; in an ``ordered``
    batch, so is every operation behind it, which must then be idempotent. On a cluster, operations of
    one hash tag keep their order and different tags run concurrently.
    """

    __slots__ = ("operations", "ordered", "return_exceptions")

    def __init__(
        self, operations: Sequence[Operation[T]], *, ordered: bool = False, return_exceptions: bool = False
    ) -> None:
        self.operations = operations
        self.ordered = ordered
        self.return_exceptions = return_exceptions

    def __await__(self) -> Generator[Step, Any, list[T]]:
        results: list[T] = yield self
        return results


class Sleep:
    """A pause of ``seconds`` before the next step."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __await__(self) -> Generator[Step, Any, None]:
        yield self


class Renewal:
    """An operation or a batch to perform every ``seconds`` while a call runs, such as extending the call's lease.

    ``make`` returns it anew each time. Renewal ends when its result is false, or after ``max_count`` times, so that
    a call that hangs does not hold its lease for ever. After an error, renewal goes on.
    """

    __slots__ = ("make", "max_count", "seconds")

    def __init__(
        self, seconds: float, make: Callable[[], Operation[bool] | Batch[Any]], max_count: int | None = None
    ) -> None:
        self.seconds = seconds
        self.make = make
        self.max_count = max_count


class Invoke(Generic[T]):
    """A call of a function that the user supplied, such as a method of a cloud store.

    On an asyncio client the function may return an awaitable. An error of the function is raised in the coroutine.
    """

    __slots__ = ("args", "function", "renewal")

    def __init__(
        self, function: Callable[..., T | Awaitable[T]], *args: object, renewal: Renewal | None = None
    ) -> None:
        self.function = function
        self.args = args
        self.renewal = renewal

    def __await__(self) -> Generator[Step, Any, T]:
        result: T = yield self
        return result

    def __repr__(self) -> str:
        return f"<Invoke {getattr(self.function, '__qualname__', self.function)}>"


class InvokeAll(Generic[T]):
    """Calls made concurrently, at most ``max_concurrency`` at a time.

    The result is a list in the order of the calls: what each returned, or the Exception that it
    raised. On a blocking client each call is made on a thread of its own.
    """

    __slots__ = ("calls", "max_concurrency", "renewal")

    def __init__(self, calls: Sequence[Invoke[T]], max_concurrency: int, renewal: Renewal | None = None) -> None:
        self.calls = calls
        self.max_concurrency = max_concurrency
        self.renewal = renewal

    def __await__(self) -> Generator[Step, Any, list[T | Exception]]:
        results: list[T | Exception] = yield self
        return results


class Overlap(Generic[T, U]):
    """A call, and a coroutine that runs while the call is under way: on a blocking client the call is on a thread.

    ``meanwhile`` makes the coroutine. The result is what the call returned, or the Exception that it raised, and what
    the coroutine returned. An error of the coroutine is raised once the call has ended.
    """

    __slots__ = ("call", "meanwhile")

    def __init__(self, call: Invoke[T], meanwhile: Callable[[], Awaitable[U]]) -> None:
        self.call = call
        self.meanwhile = meanwhile

    def __await__(self) -> Generator[Step, Any, tuple[T | Exception, U]]:
        results: tuple[T | Exception, U] = yield self
        return results


class Future(Protocol):
    """The part of ``concurrent.futures.Future`` that components use."""

    def done(self) -> bool:
        """Return whether a result was set."""

    def result(self, timeout: float | None = None) -> Any:
        """Return the result."""

    def set_result(self, result: Any) -> None:
        """Set the result, which wakes threads and tasks that wait for it."""


class Wait:
    """A pause until ``future`` is done, for at most ``seconds``."""

    __slots__ = ("future", "seconds")

    def __init__(self, future: Future, seconds: float) -> None:
        self.future = future
        self.seconds = seconds

    def __await__(self) -> Generator[Step, Any, None]:
        yield self


Step: TypeAlias = Operation[Any] | Batch[Any] | Sleep | Wait | Invoke[Any] | InvokeAll[Any] | Overlap[Any, Any]
"""What a coroutine of a component may yield to its runner."""


def stepper(awaitable: Awaitable[T]) -> Coroutine[Step, Any, T] | Generator[Step, Any, T]:
    """Return the coroutine or generator that runs ``awaitable`` one step at a time."""
    if isinstance(awaitable, CoroutineType):
        return awaitable
    steps: Generator[Step, Any, T] = awaitable.__await__()
    return steps


def is_suspended(steps: Coroutine[Step, Any, Any] | Generator[Step, Any, Any]) -> bool:
    """Return whether a coroutine has begun and waits for the result of a step."""
    return isinstance(steps, CoroutineType) and getcoroutinestate(steps) == CORO_SUSPENDED


def command(decode: Callable[[Any], T], *args: Argument) -> Operation[T]:
    """Return the operation that sends a plain command."""
    return Operation(args, decode)


def identity(reply: T) -> T:
    """Return a reply as it came."""
    return reply
