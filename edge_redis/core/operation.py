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
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from edge_redis.errors import EdgeRedisError

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

    def __init__(
        self,
        words: tuple[Argument, ...],
        decode: Callable[[Any], T | Further[T]],
        script: Script | None = None,
    ) -> None:
        self.words = words
        self.decode = decode
        self.script = script

    def __iter__(self) -> Generator[Step, Any, T]:
        result: T | Further[T] = yield self
        if isinstance(result, Further):
            return (yield from result.flow)
        return result

    def __repr__(self) -> str:
        return f"<Operation {self.script.name if self.script else self.words[0]!s}>"


class Further(Generic[T_co]):
    """What decoding a reply gives where more is to be done for the result: a flow. Not for those in a batch.

    So what is nearly always one step can be an operation, which costs less than a flow, and yet be
    prepared for the rest.
    """

    __slots__ = ("flow",)

    def __init__(self, flow: Flow[T_co]) -> None:
        self.flow = flow


class Batch(Generic[T]):
    """Operations sent together, in one round trip where the server allows it; the results in order.

    Each is atomic by itself, the batch is not. The first error is raised after all have run.
    Where one meets a server that does not know its script, it alone is sent again, after the
    others; in an ``ordered`` batch so is every one behind it, which must then be repeatable.
    On a cluster those of one hash tag keep their order, and tags go side by side. Where it is
    ``settled``, the error of an operation is its result, and none is raised.
    """

    __slots__ = ("operations", "ordered", "settled")

    def __init__(self, operations: Sequence[Operation[T]], *, ordered: bool = False, settled: bool = False) -> None:
        self.operations = operations
        self.ordered = ordered
        self.settled = settled

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


class Calls(Generic[T]):
    """Calls made side by side, ``at_once`` at most; the result of each in their order, or the error that it raised.

    On a blocking client each is made on a thread of its own.
    """

    __slots__ = ("at_once", "calls")

    def __init__(self, calls: Sequence[Call[T]], at_once: int) -> None:
        self.calls = calls
        self.at_once = at_once

    def __iter__(self) -> Generator[Step, Any, list[T | Exception]]:
        results: list[T | Exception] = yield self
        return results


Step: TypeAlias = Operation[Any] | Batch[Any] | Sleep | Call[Any] | Calls[Any]

Flow: TypeAlias = Generator[Step, Any, T]


class Steps(Protocol[T_co]):
    """Anything that a runner can perform for a result: an Operation, a Batch, or a Flow."""

    def __iter__(self) -> Generator[Step, Any, T_co]: ...


class _Lane(Generic[T]):
    """One of several flows that go side by side."""

    def __init__(self, steps: Steps[T]) -> None:
        self._flow = iter(steps)
        self.waiting: Sequence[Operation[Any]] = ()
        self.ordered = False
        self._single = False
        self.result: T
        self.error: EdgeRedisError | None = None
        self._go_on(lambda: next(self._flow))

    def _go_on(self, resume: Callable[[], Step]) -> None:
        self.waiting = ()
        try:
            step = resume()
        except StopIteration as end:
            self.result = end.value
        except EdgeRedisError as error:
            self.error = error
        else:
            assert isinstance(step, (Operation, Batch)), "what goes side by side neither sleeps nor calls"
            assert isinstance(step, Operation) or step.operations, "an empty batch has nothing to wait for"
            self._single = isinstance(step, Operation)
            self.waiting = [step] if isinstance(step, Operation) else step.operations
            self.ordered = isinstance(step, Batch) and step.ordered

    def receive(self, results: Sequence[Any]) -> None:
        """Go on with the results of what waits, or with the first error among them."""
        error = next((result for result in results if isinstance(result, EdgeRedisError)), None)
        if error is not None:
            raised = error
            self._go_on(lambda: self._flow.throw(raised))
        else:
            answer = results[0] if self._single else list(results)
            self._go_on(lambda: self._flow.send(answer))


def abreast(steps: Sequence[Steps[T]]) -> Flow[list[T]]:
    """Perform flows side by side: what they send at the same time goes out together, as one Batch.

    None of them may sleep or call. All come to their end; then the first error is raised.
    """
    if len(steps) == 1:
        return [(yield from steps[0])]
    lanes = [_Lane(flow) for flow in steps]
    while sending := [lane for lane in lanes if lane.waiting]:
        operations = [operation for lane in sending for operation in lane.waiting]
        try:
            ordered = any(lane.ordered for lane in sending)
            results: list[Any] = yield from Batch(operations, ordered=ordered, settled=True)
        except EdgeRedisError as error:
            results = [error] * len(operations)
        answers = iter(results)
        for lane in sending:
            lane.receive(list(islice(answers, len(lane.waiting))))
    for lane in lanes:
        if lane.error is not None:
            raise lane.error
    return [lane.result for lane in lanes]


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
