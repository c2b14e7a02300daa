"""Runs the coroutines of components on a blocking client."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

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
    is_suspended,
    stepper,
)
from edge_redis._io.clients import BlockingClient, check_blocking_client
from edge_redis._io.command_sender import Args, BatchSender, DurableSender
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis._io.layout import LayoutChecks
from edge_redis._io.renewal import ThreadRenewer
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
from edge_redis._io.senders import find_sender
from edge_redis._io.threads import wait_for
from edge_redis.errors import EdgeRedisError, InvalidTypeError

T = TypeVar("T")

MAX_NODES_AT_ONCE: Final = 16
"""Nodes of a cluster that one batch is sent to concurrently."""


class CarriedError(Exception):
    """Carries an exception of a user's function that would mean the coroutine's own end inside it."""

    def __init__(self, error: StopIteration | GeneratorExit) -> None:
        super().__init__(*error.args)
        self.error = error


class BlockingRunner:
    """Performs the steps of coroutines on a blocking client."""

    def __init__(self, client: BlockingClient) -> None:
        check_blocking_client(client)
        self.client = client
        self._sender = find_sender(client)
        self._batch_sender = self._sender if isinstance(self._sender, BatchSender) else None
        self._layouts = LayoutChecks()
        self._renewer = ThreadRenewer()

    def replace_sender(self, wrap: Callable[[Any], Any]) -> None:
        """Send commands by what ``wrap`` makes of the present sender."""
        wrapped = wrap(self._sender)
        self._sender, self._batch_sender = wrapped, None if self._batch_sender is None else wrapped

    def run(self, awaitable: Awaitable[T]) -> T:
        """Run an operation, a batch or a coroutine to its end, and return its result."""
        if isinstance(awaitable, Operation):
            result: T = self.perform_operation(awaitable)
            return result
        steps = stepper(awaitable)
        try:
            try:
                self._perform_all(steps, steps.send(None))
            except StopIteration:
                raise  # the coroutine has ended: it is not asked for its state, which costs a frame of each call
            except BaseException as error:
                # An interruption between two steps is the coroutine's as well: it may hold a lease.
                if is_suspended(steps):
                    self._perform_all(steps, steps.throw(error))
                raise
        except StopIteration as end:
            returned: T = end.value
            return returned
        except CarriedError as carrier:
            raise carrier.error from None
        finally:
            steps.close()

    def _perform_all(self, steps: Coroutine[Step, Any, Any] | Generator[Step, Any, Any], step: Step) -> NoReturn:
        """Perform ``step`` and all that follow it; ends with StopIteration, or the coroutine's error."""
        try:
            while True:
                try:
                    result = self.perform(step)
                except BaseException as error:  # noqa: BLE001 -- the coroutine decides how to handle it
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except PART_ERRORS as error:
            if (translated := translate_part_error(error)) is not None:
                raise translated from error
            raise

    def perform(self, step: Step) -> Any:
        """Perform one step."""
        if isinstance(step, Operation):
            return self.perform_operation(step)
        if isinstance(step, (Sleep, Wait)):
            return _pause(step)
        if isinstance(step, (Invoke, InvokeAll, Overlap)):
            return self._call(step)
        return self.perform_batch(step)

    def _call(self, step: Invoke[Any] | InvokeAll[Any] | Overlap[Any, Any]) -> Any:
        if isinstance(step, Overlap):
            return self._overlap(step)
        if isinstance(step, Invoke) and step.renewal is None:
            return _call_function(step)
        with self._renewer.during(step.renewal, self.perform):
            return _call_function(step) if isinstance(step, Invoke) else self._invoke_all(step)

    def _overlap(self, step: Overlap[Any, T]) -> tuple[Any, T]:
        with ThreadPoolExecutor(1, "edge-redis-call") as pool:
            call = pool.submit(self._invoke, step.call)
            meanwhile = self.run(step.meanwhile())
        return call.result(), meanwhile

    def _invoke_all(self, step: InvokeAll[T]) -> list[T | Exception]:
        threads = min(step.max_concurrency, len(step.calls))
        if threads <= 1:
            return [self._invoke(call) for call in step.calls]
        with ThreadPoolExecutor(threads, "edge-redis-call") as pool:
            return list(pool.map(self._invoke, step.calls))

    def _invoke(self, call: Invoke[Any]) -> Any:
        try:
            return self.perform(call)
        except Exception as error:  # noqa: BLE001 -- the result of InvokeAll carries it
            return error

    def perform_operation(self, operation: Operation[T]) -> T:
        """Send an operation and return its result."""
        if operation.replication is not None:
            [acknowledged] = self.perform_batch(Batch([operation]))
            return acknowledged
        if self._layouts.is_due(operation):
            self._check_layouts([operation])
        try:
            reply = self._send(operation)
        except LIBRARY_ERRORS as error:
            raise translate(error, str(operation)) from error
        return decode(operation, reply)

    def _check_layouts(self, operations: Sequence[Operation[Any]]) -> None:
        """Check, before the first of its writes, the layout of each shard and the rights of this user."""
        for operation, check in self._layouts.find_due(operations):
            if self.perform_operation(check):
                self._layouts.add(operation)

    def _send(self, operation: Operation[Any]) -> Any:
        send: Callable[[Args], Any] = self._sender.send
        if operation.replication is not None and isinstance(self._sender, DurableSender):
            send = partial(self._sender.send_durably, waits=operation.replication.commands)
        args = operation.args if self._batch_sender is not None else args_for_cluster(operation)
        try:
            return send(args)
        except redis_errors.NoScriptError:  # the server may have lost its keys too
            self._layouts.clear()
            self._check_layouts([operation])
            return send(args_with_source(operation, args))

    def perform_batch(self, batch: Batch[T]) -> list[T]:
        """Send a batch and return its results."""
        operations = batch.operations
        waits = find_waits(self.client, operations)
        if self._batch_sender is None:
            replies = self._send_by_tag(operations)
            return decode_written(batch, replies) if waits else decode_batch(batch, replies)
        self._check_layouts(operations)
        try:
            replies, acknowledgements = self._send_together(self._batch_sender, batch, waits)
        except LIBRARY_ERRORS as error:
            raise translate(error, f"batch of {len(operations)}") from error
        results = decode_batch(batch, replies)
        return add_acknowledgements(operations, results, acknowledgements) if waits else results

    def _send_together(
        self, sender: BatchSender, batch: Batch[Any], waits: Sequence[Args]
    ) -> tuple[list[Any], list[Any]]:
        """Return the replies of a batch, and those to ``waits``; unknown scripts are sent again with their source."""
        replies = sender.send_many([*(operation.args for operation in batch.operations), *waits])
        acknowledgements = pop_acknowledgements(replies, waits)
        resends = find_resends(batch, replies)
        if resends:
            operations = [batch.operations[place] for place in resends]
            self._layouts.clear()
            self._check_layouts(operations)
            again = sender.send_many([*args_of_resends(operations), *waits])
            acknowledgements = pop_acknowledgements(again, waits)
            for place, reply in zip(resends, again, strict=True):
                replies[place] = reply
        return replies, acknowledgements

    def _send_by_tag(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        groups = group_by_tag(operations)
        if len(groups) <= 1:
            return self._send_in_order(operations)
        with ThreadPoolExecutor(min(len(groups), MAX_NODES_AT_ONCE), "edge-redis-node") as pool:
            replies = pool.map(lambda group: self._send_in_order([operations[place] for place in group]), groups)
            return merge_groups(groups, list(replies))

    def _send_in_order(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        replies: list[Any] = []
        for operation in operations:
            try:
                if self._layouts.is_due(operation):
                    self._check_layouts([operation])
                replies.append(self._send(operation))
            except (*LIBRARY_ERRORS, EdgeRedisError) as error:
                replies.append(error)
        return replies


def _pause(step: Sleep | Wait) -> None:
    if isinstance(step, Sleep):
        time.sleep(step.seconds)
    else:
        wait_for(step.future, step.seconds)


def _call_function(step: Invoke[Any]) -> Any:
    try:
        return _refuse_awaitable(step.function(*step.args))
    except (StopIteration, GeneratorExit) as error:
        raise CarriedError(error) from error


def _refuse_awaitable(result: Any) -> Any:
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise InvalidTypeError(
            "a blocking service was given a function that returns an awaitable: use the same class from edge_redis.aio"
        )
    return result
