"""Performs steps: the one place where an operation meets a client, blocking or awaited.

A script the server does not know (restart, SCRIPT FLUSH, failover to a new replica) is sent
again with its source, once. In a batch the unknown ones alone are sent again, in their order,
since NOSCRIPT fails its own command and no other; in an ordered batch all behind the first too.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import redis
import redis.asyncio
from redis import exceptions as redis_errors

from edge_redis.core.operation import Batch, Call, Operation, Sleep, Step, Steps
from edge_redis.errors import ClientConfigurationError, CorruptDataError, EdgeRedisError, InvalidTypeError
from edge_redis.runtime.trouble import LIBRARY_ERRORS, translate

T = TypeVar("T")

BlockingClient: TypeAlias = redis.Redis | redis.RedisCluster
AsyncClient: TypeAlias = redis.asyncio.Redis | redis.asyncio.RedisCluster

_BLOCKING: tuple[type, ...] = (redis.Redis, redis.RedisCluster)
_ASYNC: tuple[type, ...] = (redis.asyncio.Redis, redis.asyncio.RedisCluster)
_CLUSTER: tuple[type, ...] = (redis.RedisCluster, redis.asyncio.RedisCluster)


def _words_with_source(operation: Operation[Any]) -> tuple[Any, ...]:
    if operation.script is None:
        return operation.words
    return ("EVAL", operation.script.source, *operation.words[2:])


def _is_unknown_script(reply: object) -> bool:
    return isinstance(reply, redis_errors.NoScriptError)


def _again(batch: Batch[Any], replies: Sequence[Any]) -> list[int]:
    unknown = [index for index, reply in enumerate(replies) if _is_unknown_script(reply)]
    return list(range(unknown[0], len(replies))) if unknown and batch.ordered else unknown


def _decoded(operation: Operation[T], reply: Any) -> T:  # noqa: ANN401 -- a raw reply
    try:
        return operation.decode(reply)
    except EdgeRedisError:
        raise
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        # What is read was not written by this package: its decoders take all that its scripts write.
        raise CorruptDataError(f"{operation!r}: what is in Redis does not decode: {error!r}") from error


def _decode_all(operations: Sequence[Operation[T]], replies: Sequence[Any]) -> list[T]:
    for operation, reply in zip(operations, replies, strict=True):
        if isinstance(reply, LIBRARY_ERRORS):
            raise translate(reply, repr(operation)) from reply
    return [_decoded(operation, reply) for operation, reply in zip(operations, replies, strict=True)]


def _refuse_decoding(client: Any) -> None:  # noqa: ANN401 -- whatever kind of client
    if client.get_encoder().decode_responses:
        msg = "the client was made with decode_responses=True; values are bytes: make it without"
        raise ClientConfigurationError(msg)


def _not_awaitable(answer: Any) -> Any:  # noqa: ANN401 -- of whatever was called
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
        self._pipelines = not isinstance(client, _CLUSTER)

    def run(self, steps: Steps[T]) -> T:
        """Perform an operation, a batch or a flow, and return its result."""
        if isinstance(steps, Operation):
            result: T = self._operation(steps)
            return result
        flow = iter(steps)
        try:
            step = next(flow)
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

    def perform(self, step: Step) -> Any:  # noqa: ANN401 -- each step has its own result
        """Perform one step."""
        if isinstance(step, Operation):
            return self._operation(step)
        if isinstance(step, Sleep):
            return time.sleep(step.seconds)
        if isinstance(step, Call):
            return _not_awaitable(step.function(*step.args))
        return self._batch(step)

    def _operation(self, operation: Operation[T]) -> T:
        try:
            reply = self._send(operation)
        except LIBRARY_ERRORS as error:
            raise translate(error, repr(operation)) from error
        return _decoded(operation, reply)

    def _send(self, operation: Operation[Any]) -> Any:  # noqa: ANN401 -- a raw reply
        execute: Any = self.client.execute_command
        try:
            return execute(*operation.words)
        except redis_errors.NoScriptError:
            return execute(*_words_with_source(operation))

    def _batch(self, batch: Batch[T]) -> list[T]:
        operations = batch.operations
        if not self._pipelines:  # a cluster pipeline refuses EVALSHA
            return [self._operation(operation) for operation in operations]
        try:
            replies = self._pipeline([operation.words for operation in operations])
            unknown = _again(batch, replies)
            if unknown:
                again = self._pipeline([_words_with_source(operations[index]) for index in unknown])
                for index, reply in zip(unknown, again, strict=True):
                    replies[index] = reply
        except LIBRARY_ERRORS as error:
            raise translate(error, f"batch of {len(operations)}") from error
        return _decode_all(operations, replies)

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
        self._pipelines = not isinstance(client, _CLUSTER)

    async def run(self, steps: Steps[T]) -> T:
        """Perform an operation, a batch or a flow, and return its result."""
        if isinstance(steps, Operation):
            result: T = await self._operation(steps)
            return result
        flow = iter(steps)
        try:
            step = next(flow)
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

    async def perform(self, step: Step) -> Any:  # noqa: ANN401 -- each step has its own result
        """Perform one step."""
        if isinstance(step, Operation):
            return await self._operation(step)
        if isinstance(step, Sleep):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Call):
            answer = step.function(*step.args)
            return await answer if inspect.isawaitable(answer) else answer
        return await self._batch(step)

    async def _operation(self, operation: Operation[T]) -> T:
        try:
            reply = await self._send(operation)
        except LIBRARY_ERRORS as error:
            raise translate(error, repr(operation)) from error
        return _decoded(operation, reply)

    async def _send(self, operation: Operation[Any]) -> Any:  # noqa: ANN401 -- a raw reply
        execute: Any = self.client.execute_command
        try:
            return await execute(*operation.words)
        except redis_errors.NoScriptError:
            return await execute(*_words_with_source(operation))

    async def _batch(self, batch: Batch[T]) -> list[T]:
        operations = batch.operations
        if not self._pipelines:  # a cluster pipeline refuses EVALSHA
            return [await self._operation(operation) for operation in operations]
        try:
            replies = await self._pipeline([operation.words for operation in operations])
            unknown = _again(batch, replies)
            if unknown:
                again = await self._pipeline([_words_with_source(operations[index]) for index in unknown])
                for index, reply in zip(unknown, again, strict=True):
                    replies[index] = reply
        except LIBRARY_ERRORS as error:
            raise translate(error, f"batch of {len(operations)}") from error
        return _decode_all(operations, replies)

    async def _pipeline(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        async with self.client.pipeline(transaction=False) as pipeline:
            for words in calls:
                pipeline.execute_command(*words)
            return list(await pipeline.execute(raise_on_error=False))


def run_once_in_a_new_loop(client: AsyncClient, steps: Steps[T]) -> T:
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
