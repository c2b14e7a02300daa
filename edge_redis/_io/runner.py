"""Performs steps: the one place where an operation meets a client, blocking or awaited.

A script the server does not know (restart, SCRIPT FLUSH, failover to a new replica) is sent
again with its source, once. In a batch the unknown ones alone are sent again, in their order,
since NOSCRIPT fails its own command and no other; in an ordered batch all behind the first too.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeAlias, TypeVar

import redis
import redis.asyncio
from redis import exceptions as redis_errors

from edge_redis._core.operation import Batch, Invoke, InvokeAll, Operation, Sleep, Step, stepper
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis.errors import ClientConfigurationError, CorruptDataError, EdgeRedisError, InvalidTypeError

T = TypeVar("T")

BlockingClient: TypeAlias = redis.Redis | redis.RedisCluster
AsyncClient: TypeAlias = redis.asyncio.Redis | redis.asyncio.RedisCluster

_BLOCKING: tuple[type, ...] = (redis.Redis, redis.RedisCluster)
_ASYNC: tuple[type, ...] = (redis.asyncio.Redis, redis.asyncio.RedisCluster)
_CLUSTER: tuple[type, ...] = (redis.RedisCluster, redis.asyncio.RedisCluster)

_TURN: Final = 100
"""Things that are done without a step before the other tasks of the loop have their turn."""

MOST_AT_ONCE: Final = 16
"""Nodes of a cluster that a blocking batch talks to at once."""


def _words_with_source(operation: Operation[Any]) -> tuple[Any, ...]:
    if operation.script is None:
        return operation.args
    return ("EVAL", operation.script.source, *operation.args[2:])


def _is_unknown_script(reply: object) -> bool:
    return isinstance(reply, redis_errors.NoScriptError)


def _again(batch: Batch[Any], replies: Sequence[Any]) -> list[int]:
    unknown = [index for index, reply in enumerate(replies) if _is_unknown_script(reply)]
    return list(range(unknown[0], len(replies))) if unknown and batch.ordered else unknown


def _decoded(operation: Operation[T], reply: Any) -> T:
    try:
        return operation.decode(reply)
    except EdgeRedisError:
        raise
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        # What is read was not written by this package: its decoders take all that its scripts write.
        raise CorruptDataError(f"{operation!r}: what is in Redis does not decode: {error!r}") from error


def _answer(operation: Operation[T], reply: Any) -> Any:
    if isinstance(reply, LIBRARY_ERRORS):
        raise translate(reply, repr(operation)) from reply
    return _decoded(operation, reply)


def _answer_or_error(operation: Operation[Any], reply: Any) -> Any:
    try:
        return _answer(operation, reply)
    except EdgeRedisError as error:
        return error


def _answers(batch: Batch[T], replies: Sequence[Any]) -> list[T]:
    read = _answer_or_error if batch.return_exceptions else _answer
    return [read(operation, reply) for operation, reply in zip(batch.operations, replies, strict=True)]


def _by_tag(operations: Sequence[Operation[Any]]) -> list[list[int]]:
    """Return the places of operations, those of one hash tag together: they go to one node, in their order."""
    groups: dict[str, list[int]] = {}
    for place, operation in enumerate(operations):
        key = str(operation.args[3 if operation.script else 1])
        groups.setdefault(key.partition("}")[0], []).append(place)
    return list(groups.values())


def _in_place(groups: Sequence[Sequence[int]], replies: Sequence[Sequence[Any]]) -> list[Any]:
    found = {
        place: reply
        for group, got in zip(groups, replies, strict=True)
        for place, reply in zip(group, got, strict=True)
    }
    return [found[place] for place in range(len(found))]


def _refuse_decoding(client: Any) -> None:
    if client.get_encoder().decode_responses:
        msg = "the client was made with decode_responses=True; values are bytes: make it without"
        raise ClientConfigurationError(msg)


def _not_awaitable(answer: Any) -> Any:
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise InvalidTypeError(
            "a blocking service was given something to await: use the same class from edge_redis.aio"
        )
    return answer


class BlockingRunner:
    """Performs steps on a blocking client."""

    def __init__(self, client: BlockingClient) -> None:
        if isinstance(client, _ASYNC):
            msg = "this is an asyncio client: use the same class from edge_redis.aio, or a blocking client"
            raise InvalidTypeError(msg)
        if not isinstance(client, _BLOCKING):
            msg = f"client must be a redis.Redis or redis.RedisCluster, not {type(client).__name__}"
            raise InvalidTypeError(msg)
        _refuse_decoding(client)
        self.client = client
        self._pipelines = not is_cluster(client)

    def run(self, steps: Awaitable[T]) -> T:
        """Perform an operation, a batch or a flow, and return its result."""
        if isinstance(steps, Operation):
            result: T = self._operation(steps)
            return result
        flow = stepper(steps)
        try:
            step = flow.send(None)
            while True:
                try:
                    result = self.perform(step)
                except Exception as error:  # noqa: BLE001 -- the flow decides what to do with it
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            result_of_flow: T = end.value
            return result_of_flow
        finally:
            flow.close()

    def perform(self, step: Step) -> Any:
        """Perform one step."""
        if isinstance(step, Operation):
            return self._operation(step)
        if isinstance(step, Sleep):
            return time.sleep(step.seconds)
        if isinstance(step, Invoke):
            return _not_awaitable(step.function(*step.args))
        if isinstance(step, InvokeAll):
            return self._calls(step)
        return self._batch(step)

    def _calls(self, calls: InvokeAll[T]) -> list[T | Exception]:
        threads = min(calls.max_concurrency, len(calls.calls))
        if threads <= 1:
            return [self._outcome(call) for call in calls.calls]
        with ThreadPoolExecutor(threads, "edge-redis-call") as pool:
            return list(pool.map(self._outcome, calls.calls))

    def _outcome(self, call: Invoke[Any]) -> Any:
        try:
            return self.perform(call)
        except Exception as error:  # noqa: BLE001 -- the flow decides what to do with it
            return error

    def _operation(self, operation: Operation[T]) -> T:
        try:
            reply = self._send(operation)
        except LIBRARY_ERRORS as error:
            raise translate(error, repr(operation)) from error
        return _decoded(operation, reply)

    def _send(self, operation: Operation[Any]) -> Any:
        execute: Any = self.client.execute_command
        try:
            return execute(*operation.args)
        except redis_errors.NoScriptError:
            return execute(*_words_with_source(operation))

    def _batch(self, batch: Batch[T]) -> list[T]:
        operations = batch.operations
        if not self._pipelines:  # a cluster pipeline refuses EVALSHA
            return _answers(batch, self._fan_out(operations))
        try:
            replies = self._pipeline([operation.args for operation in operations])
            unknown = _again(batch, replies)
            if unknown:
                again = self._pipeline([_words_with_source(operations[index]) for index in unknown])
                for index, reply in zip(unknown, again, strict=True):
                    replies[index] = reply
        except LIBRARY_ERRORS as error:
            raise translate(error, f"batch of {len(operations)}") from error
        return _answers(batch, replies)

    def _fan_out(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        groups = _by_tag(operations)
        if len(groups) == 1:
            return self._in_turn(operations)
        with ThreadPoolExecutor(min(len(groups), MOST_AT_ONCE), "edge-redis-fan") as pool:
            return _in_place(
                groups, list(pool.map(lambda group: self._in_turn([operations[at] for at in group]), groups))
            )

    def _in_turn(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        replies: list[Any] = []
        for operation in operations:
            try:
                replies.append(self._send(operation))
            except LIBRARY_ERRORS as error:
                replies.append(error)
        return replies

    def _pipeline(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        with self.client.pipeline(transaction=False) as pipeline:
            for words in calls:
                pipeline.execute_command(*words)
            return list(pipeline.execute(raise_on_error=False))


class AsyncRunner:
    """Performs steps on an asyncio client."""

    def __init__(self, client: AsyncClient) -> None:
        if isinstance(client, _BLOCKING) and not isinstance(client, _ASYNC):
            msg = "this is a blocking client: use the same class from edge_redis, or an asyncio client"
            raise InvalidTypeError(msg)
        if not isinstance(client, _ASYNC):
            msg = f"client must be a redis.asyncio.Redis or RedisCluster, not {type(client).__name__}"
            raise InvalidTypeError(msg)
        _refuse_decoding(client)
        self.client = client
        self._pipelines = not is_cluster(client)
        self._without_a_step = 0

    async def run(self, steps: Awaitable[T]) -> T:
        """Perform an operation, a batch or a flow, and return its result."""
        if isinstance(steps, Operation):
            return await self._operation(steps)
        flow = stepper(steps)
        try:
            try:
                step = flow.send(None)
            except StopIteration:
                if self.should_yield():
                    await yield_to_loop()
                raise
            while True:
                try:
                    result = await self.perform(step)
                except Exception as error:  # noqa: BLE001 -- the flow decides what to do with it
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            result_of_flow: T = end.value
            return result_of_flow
        finally:
            flow.close()

    def should_yield(self) -> bool:
        """Count a call without I/O; whether it is time to yield, so that the other tasks of the loop run."""
        self._without_a_step += 1
        return self._without_a_step % _TURN == 0

    async def perform(self, step: Step) -> Any:
        """Perform one step."""
        if isinstance(step, Operation):
            return await self._operation(step)
        if isinstance(step, Sleep):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Invoke):
            answer = step.function(*step.args)
            return await answer if inspect.isawaitable(answer) else answer
        if isinstance(step, InvokeAll):
            turns = asyncio.Semaphore(step.max_concurrency)
            return await asyncio.gather(*(self._outcome(call, turns) for call in step.calls))
        return await self._batch(step)

    async def _outcome(self, call: Invoke[Any], turns: asyncio.Semaphore) -> Any:
        async with turns:
            try:
                return await self.perform(call)
            except Exception as error:  # noqa: BLE001 -- the flow decides what to do with it
                return error

    async def _operation(self, operation: Operation[T]) -> T:
        try:
            reply = await self._send(operation)
        except LIBRARY_ERRORS as error:
            raise translate(error, repr(operation)) from error
        return _decoded(operation, reply)

    async def _send(self, operation: Operation[Any]) -> Any:
        try:
            return await self._execute(operation.args)
        except redis_errors.NoScriptError:
            return await self._execute(_words_with_source(operation))

    async def _execute(self, words: tuple[Any, ...]) -> Any:
        execute: Any = self.client.execute_command
        try:
            return await execute(*words)
        except AttributeError as error:  # a cluster client that reads its layout anew drops connections in use
            raise redis_errors.ConnectionError("the connection was closed under this command") from error

    async def _batch(self, batch: Batch[T]) -> list[T]:
        operations = batch.operations
        if not self._pipelines:  # a cluster pipeline refuses EVALSHA
            return _answers(batch, await self._fan_out(operations))
        try:
            replies = await self._pipeline([operation.args for operation in operations])
            unknown = _again(batch, replies)
            if unknown:
                again = await self._pipeline([_words_with_source(operations[index]) for index in unknown])
                for index, reply in zip(unknown, again, strict=True):
                    replies[index] = reply
        except LIBRARY_ERRORS as error:
            raise translate(error, f"batch of {len(operations)}") from error
        return _answers(batch, replies)

    async def _fan_out(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        groups = _by_tag(operations)
        in_turn = [self._in_turn([operations[at] for at in group]) for group in groups]
        replies = _in_place(groups, await asyncio.gather(*in_turn))
        for place, reply in enumerate(replies):
            if isinstance(reply, redis_errors.ConnectionError):
                # One that met a failing node has the client read its layout anew, which cuts off the others.
                replies[place : place + 1] = await self._in_turn([operations[place]])
        return replies

    async def _in_turn(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        replies: list[Any] = []
        for operation in operations:
            try:
                replies.append(await self._send(operation))
            except LIBRARY_ERRORS as error:
                replies.append(error)
        return replies

    async def _pipeline(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        async with self.client.pipeline(transaction=False) as pipeline:
            for words in calls:
                pipeline.execute_command(*words)
            return list(await pipeline.execute(raise_on_error=False))


def is_cluster(client: object) -> bool:
    """Whether this is a client of a cluster."""
    return isinstance(client, _CLUSTER)


async def yield_to_loop() -> None:
    """Let the other tasks of the loop have their turn."""
    await asyncio.sleep(0)


def run_once_in_a_new_loop(client: AsyncClient, steps: Awaitable[T]) -> T:
    """Perform ``steps`` when the client's own loop has ended: on connections made for them alone."""

    async def perform() -> T:
        pool: Any = getattr(client, "connection_pool", None)
        if pool is None:
            raise RuntimeError("a cluster client must be closed before its loop ends")
        fresh = type(pool)(connection_class=pool.connection_class, **pool.connection_kwargs)
        async with redis.asyncio.Redis(connection_pool=fresh) as substitute:
            result = await AsyncRunner(substitute).run(steps)
        await fresh.disconnect()
        return result

    return asyncio.run(perform())
