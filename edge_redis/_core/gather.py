"""Runs several coroutines concurrently: what they send at the same time goes out in one round trip."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from edge_redis._core.operation import Batch, Operation, Sleep, Step, stepper
from edge_redis.errors import EdgeRedisError

T = TypeVar("T")


class _Branch(Generic[T]):
    """One of several coroutines that run concurrently."""

    def __init__(self, awaitable: Awaitable[T]) -> None:
        self._steps = stepper(awaitable)
        self.waiting: Sequence[Operation[Any]] = ()
        self.seconds: float | None = None
        """The pause that it waits for, where it waits for one."""
        self.ordered = False
        self._is_single = False
        self.result: T
        self.error: EdgeRedisError | None = None
        self._resume(self._steps.send, None)

    def _resume(self, resume: Callable[[Any], Step], argument: object) -> None:
        """Run the coroutine to its next step by ``resume``, which is ``send`` or ``throw``."""
        self.waiting, self.seconds = (), None
        try:
            step = resume(argument)
        except StopIteration as end:
            self.result = end.value
        except EdgeRedisError as error:
            self.error = error
        else:
            if isinstance(step, Sleep):
                self.seconds = step.seconds
                return
            assert isinstance(step, (Operation, Batch)), "a gathered coroutine may not wait or invoke"
            assert isinstance(step, Operation) or step.operations, "an empty batch has no reply to wait for"
            self._is_single = isinstance(step, Operation)
            self.waiting = [step] if isinstance(step, Operation) else step.operations
            self.ordered = isinstance(step, Batch) and step.ordered

    def wake(self) -> None:
        """Resume after the pause."""
        self._resume(self._steps.send, None)

    def receive(self, results: Sequence[Any]) -> None:
        """Resume with the results of the waiting operations, or with the first error among them."""
        error = next((result for result in results if isinstance(result, EdgeRedisError)), None)
        if error is not None:
            self._resume(self._steps.throw, error)
        else:
            self._resume(self._steps.send, results[0] if self._is_single else list(results))


async def gather(awaitables: Sequence[Awaitable[T]]) -> list[T]:
    """Run coroutines concurrently: the operations that they await at the same time are sent as one Batch.

    Pauses end together, when no operation waits. None of the coroutines may await Wait, Invoke or InvokeAll. All run to
    their end; then the first error is raised.
    """
    if len(awaitables) == 1:
        return [await awaitables[0]]
    results: list[T] = []
    for result in await gather_each(awaitables):
        if isinstance(result, EdgeRedisError):
            raise result
        results.append(result)
    return results


async def gather_each(
    awaitables: Sequence[Awaitable[T]], on_batch: Callable[[int], None] | None = None
) -> list[T | EdgeRedisError]:
    """Run coroutines concurrently, as ``gather`` does; return the result of each, or the error that it raised.

    ``on_batch`` is called with the number of coroutines whose operations each Batch has.
    """
    branches = [_Branch(awaitable) for awaitable in awaitables]
    while (sending := [branch for branch in branches if branch.waiting]) or (
        pausing := [branch for branch in branches if branch.seconds is not None]
    ):
        if not sending:
            await Sleep(max(branch.seconds or 0.0 for branch in pausing))
            for branch in pausing:
                branch.wake()
            continue
        operations = [operation for branch in sending for operation in branch.waiting]
        if on_batch is not None:
            on_batch(len(sending))
        try:
            ordered = any(branch.ordered for branch in sending)
            results: list[Any] = await Batch(operations, ordered=ordered, return_exceptions=True)
        except EdgeRedisError as error:
            results = [error] * len(operations)
        answers = iter(results)
        for branch in sending:
            branch.receive(list(islice(answers, len(branch.waiting))))
    return [branch.result if branch.error is None else branch.error for branch in branches]
