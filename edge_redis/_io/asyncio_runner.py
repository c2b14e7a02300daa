"""Runs the coroutines of components on an asyncio client."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import cycle
from typing import Any, Final, TypeVar

from redis import exceptions as redis_errors

from edge_redis._core.operation import (
    Batch,
    Invoke,
    InvokeAll,
    Operation,
    Overlap,
    Sleep,
    Step,
    Wait,
    stepper,
)
from edge_redis._io.clients import AsyncClient, check_asyncio_client
from edge_redis._io.command_sender import Args, AsyncBatchSender, AsyncDurableSender
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis._io.layout import LayoutChecks
from edge_redis._io.renewal import renew_during
from edge_redis._io.replication import add_acknowledgements, decode_written, find_waits, pop_acknowledgements
from edge_redis._io.replies import (
    args_for_cluster,
    args_of_resends,
    args_with_source,
    decode,
    decode_batch,
    find_resends,
    group_by_tag,
    merge_groups,
)
from edge_redis._io.reply_errors import PART_ERRORS, translate_part_error
from edge_redis._io.senders import find_async_sender
from edge_redis._io.tasks import finish
from edge_redis._io.threads import wait_in_task
from edge_redis.errors import EdgeRedisError, StoreUnavailableError

T = TypeVar("T")

_CALLS_PER_YIELD: Final = 100
"""Yield to the event loop after this many calls that did no I/O."""


class AsyncRunner:
    """Performs the steps of coroutines on an asyncio client."""

    def __init__(self, client: AsyncClient) -> None:
        check_asyncio_client(client)
        self.client = client
        self._sender = find_async_sender(client)
        self._batch_sender = self._sender if isinstance(self._sender, AsyncBatchSender) else None
        self._layouts = LayoutChecks()
        self.should_yield = cycle([False] * (_CALLS_PER_YIELD - 1) + [True]).__next__
        """Counts a call without I/O, and returns whether to yield now, so that the loop's other tasks run.

        No method, whose call would take as long as the rest of a hit in the near cache.
        """

    def replace_sender(self, wrap: Callable[[Any], Any]) -> None:
        """Send commands by what ``wrap`` makes of the present sender."""
        wrapped = wrap(self._sender)
        self._sender, self._batch_sender = wrapped, None if self._batch_sender is None else wrapped

    async def run(self, awaitable: Awaitable[T]) -> T:  # noqa: C901 -- parts of it would be frames of each call
        """Run an operation, a batch or a coroutine to its end, and return its result."""
        if isinstance(awaitable, Operation):
            return await self.perform_operation(awaitable)
        steps = stepper(awaitable)
        try:
            try:
                step = steps.send(None)
            except StopIteration:
                if self.should_yield():
                    await yield_to_loop()
                raise
            try:
                while True:
                    try:
                        result = await self.perform(step)
                    except BaseException as error:  # noqa: BLE001 -- the coroutine decides how to handle it
                        step = steps.throw(error)
                    else:
                        step = steps.send(result)
            except PART_ERRORS as error:
                if (translated := translate_part_error(error)) is not None:
                    raise translated from error
                raise
        except StopIteration as end:
            returned: T = end.value
            return returned
        finally:
            steps.close()

    async def perform(self, step: Step) -> Any:
        """Perform one step."""
        if isinstance(step, Operation):
            return await (finish(self.perform_operation(step)) if step.is_shielded else self.perform_operation(step))
        if isinstance(step, (Sleep, Wait)):
            return await _pause(step)
        if isinstance(step, Invoke):
            async with renew_during(step.renewal, self.perform):
                result = step.function(*step.args)
                return await result if inspect.isawaitable(result) else result
        if isinstance(step, InvokeAll):
            limit = asyncio.Semaphore(step.max_concurrency)
            async with renew_during(step.renewal, self.perform):
                return await asyncio.gather(*(self._invoke(call, limit) for call in step.calls))
        if isinstance(step, Overlap):
            return await self._overlap(step)
        return await self.perform_batch(step)

    async def _overlap(self, step: Overlap[Any, T]) -> tuple[Any, T]:
        call = asyncio.create_task(self._invoke(step.call, asyncio.Semaphore()))
        try:
            meanwhile = await self.run(step.meanwhile())
        except EdgeRedisError:
            await call
            raise
        except BaseException:
            call.cancel()
            await asyncio.wait([call])
            raise
        return await call, meanwhile

    async def _invoke(self, call: Invoke[Any], limit: asyncio.Semaphore) -> Any:
        async with limit:
            try:
                return await self.perform(call)
            except Exception as error:  # noqa: BLE001 -- the result of InvokeAll carries it
                return error

    async def perform_operation(self, operation: Operation[T]) -> T:
        """Send an operation and return its result."""
        if operation.replication is not None:
            [acknowledged] = await self.perform_batch(Batch([operation]))
            return acknowledged
        if self._layouts.is_due(operation):
            await self._check_layouts([operation])
        try:
            reply = await self._send(operation)
        except LIBRARY_ERRORS as error:
            raise translate(error, str(operation)) from error
        return decode(operation, reply)

    async def _check_layouts(self, operations: Sequence[Operation[Any]]) -> None:
        """Check, before the first of its writes, the layout of each shard and the rights of this user."""
        for operation, check in self._layouts.find_due(operations):
            if await self.perform_operation(check):
                self._layouts.add(operation)

    async def _send(self, operation: Operation[Any]) -> Any:
        send: Callable[[Args], Awaitable[Any]] = self._sender.send
        if operation.replication is not None and isinstance(self._sender, AsyncDurableSender):
            send = partial(self._sender.send_durably, waits=operation.replication.commands)
        args = operation.args if self._batch_sender is not None else args_for_cluster(operation)
        try:
            return await send(args)
        except redis_errors.NoScriptError:  # the server may have lost its keys too
            self._layouts.clear()
            await self._check_layouts([operation])
            return await send(args_with_source(operation, args))

    async def perform_batch(self, batch: Batch[T]) -> list[T]:
        """Send a batch and return its results."""
        operations = batch.operations
        waits = find_waits(self.client, operations)
        if self._batch_sender is None:
            replies = await self._send_by_tag(operations)
            return decode_written(batch, replies) if waits else decode_batch(batch, replies)
        await self._check_layouts(operations)
        try:
            replies, acknowledgements = await self._send_together(self._batch_sender, batch, waits)
        except LIBRARY_ERRORS as error:
            raise translate(error, f"batch of {len(operations)}") from error
        results = decode_batch(batch, replies)
        return add_acknowledgements(operations, results, acknowledgements) if waits else results

    async def _send_together(
        self, sender: AsyncBatchSender, batch: Batch[Any], waits: Sequence[Args]
    ) -> tuple[list[Any], list[Any]]:
        """Return the replies of a batch, and those to ``waits``; unknown scripts are sent again with their source."""
        replies = await sender.send_many([*(operation.args for operation in batch.operations), *waits])
        acknowledgements = pop_acknowledgements(replies, waits)
        resends = find_resends(batch, replies)
        if resends:
            operations = [batch.operations[place] for place in resends]
            self._layouts.clear()
            await self._check_layouts(operations)
            again = await sender.send_many([*args_of_resends(operations), *waits])
            acknowledgements = pop_acknowledgements(again, waits)
            for place, reply in zip(resends, again, strict=True):
                replies[place] = reply
        return replies, acknowledgements

    async def _send_by_tag(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        groups = group_by_tag(operations)
        sends = [self._send_in_order([operations[place] for place in group]) for group in groups]
        replies = merge_groups(groups, await asyncio.gather(*sends))
        for place, reply in enumerate(replies):
            if isinstance(reply, (redis_errors.ConnectionError, StoreUnavailableError)):
                # One command that met a failing node made the client reload its slot map, which cut off the others.
                replies[place : place + 1] = await self._send_in_order([operations[place]])
        return replies

    async def _send_in_order(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        replies: list[Any] = []
        for operation in operations:
            try:
                if self._layouts.is_due(operation):
                    await self._check_layouts([operation])
                replies.append(await self._send(operation))
            except (*LIBRARY_ERRORS, EdgeRedisError) as error:
                replies.append(error)
        return replies


async def _pause(step: Sleep | Wait) -> None:
    if isinstance(step, Sleep):
        await asyncio.sleep(step.seconds)
    else:
        await wait_in_task(step.future, step.seconds)


async def yield_to_loop() -> None:
    """Let the other tasks of the event loop run."""
    await asyncio.sleep(0)
