"""What the services do, as values: a step to perform, and flows made of steps.

Nothing here talks to a server. A runner performs a step; a flow is a generator that
yields steps and receives their results, so the same flow runs blocking, awaited, or
one step at a time under a test scheduler::

    def double(key: str) -> Flow[int]:
        value = yield from get(key)      # an Operation[int]
        yield from put(key, value * 2)
        return value * 2
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from edge_redis.core.script import Script

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Argument: TypeAlias = str | bytes | int | float


class Operation(Generic[T]):
    """One command or script call and how to read its reply: atomic, one round trip.

    ``words`` go to the server as they are. ``script`` is set where they are an EVALSHA,
    so that a runner can send the source to a server that does not know it.
    """

    __slots__ = ("decode", "script", "words")

    def __init__(self, words: tuple[Argument, ...], decode: Callable[[Any], T], script: Script | None = None) -> None:
        self.words = words
        self.decode = decode
        self.script = script

    def __iter__(self) -> Generator[Step, Any, T]:
        result: T = yield self
        return result

    def __repr__(self) -> str:
        return f"<Operation {self.script.name if self.script else self.words[0]!s}>"


class Batch(Generic[T]):
    """Operations sent together, in one round trip where the server allows it; the results in order.

    Each is atomic by itself, the batch is not. The first error is raised after all have run.
    Where one meets a server that does not know its script, it alone is sent again, after the
    others; in an ``ordered`` batch so is every one behind it, which must then be repeatable.
    """

    __slots__ = ("operations", "ordered")

    def __init__(self, operations: Sequence[Operation[T]], *, ordered: bool = False) -> None:
        self.operations = operations
        self.ordered = ordered

    def __iter__(self) -> Generator[Step, Any, list[T]]:
        results: list[T] = yield self
        return results


class Sleep:
    """A pause of ``seconds`` before the next step."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __iter__(self) -> Generator[Step, Any, None]:
        yield self


class Call(Generic[T]):
    """A question to somebody else, such as a store that the user brought: a function and its arguments.

    Where the flow is awaited, the function may return an awaitable. An error of the function is
    raised in the flow.
    """

    __slots__ = ("args", "function")

    def __init__(self, function: Callable[..., T | Awaitable[T]], *args: object) -> None:
        self.function = function
        self.args = args

    def __iter__(self) -> Generator[Step, Any, T]:
        result: T = yield self
        return result

    def __repr__(self) -> str:
        return f"<Call {getattr(self.function, '__qualname__', self.function)}>"


Step: TypeAlias = Operation[Any] | Batch[Any] | Sleep | Call[Any]

Flow: TypeAlias = Generator[Step, Any, T]


class Steps(Protocol[T_co]):
    """Anything that a runner can perform for a result: an Operation, a Batch, or a Flow."""

    def __iter__(self) -> Generator[Step, Any, T_co]: ...


def command(decode: Callable[[Any], T], *words: Argument) -> Operation[T]:
    """Return the operation that sends a plain command."""
    return Operation(words, decode)


def done(value: T) -> Flow[T]:
    """Return a flow that ends at once with ``value``."""
    yield from ()
    return value


def identity(reply: T) -> T:
    """Return a reply as it came."""
    return reply
