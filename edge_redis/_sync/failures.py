"""How a worker handles errors: it waits during an outage, and goes on with the other scopes when one fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from edge_redis._core.error_text import describe_error
from edge_redis._core.layout import OtherShardsError
from edge_redis._core.operation import Batch, Operation, T
from edge_redis.errors import (
    EdgeRedisError,
    ShardMovedError,
    StoreOutOfMemoryError,
    StoreRefusedError,
    StoreUnavailableError,
)

_log = logging.getLogger("edge_redis")

OUTAGE: Final = (StoreUnavailableError, StoreRefusedError, OSError)
"""Errors of a store that cannot work now. They do not count against the change."""

MOVED: Final = (ShardMovedError, OtherShardsError)
"""Errors of a call that was made to a shard whose scopes are moved, or were. Nothing was written."""


def unavailable(error: BaseException) -> EdgeRedisError:
    """Return an outage's error as a StoreUnavailableError."""
    if isinstance(error, EdgeRedisError):
        return error
    return StoreUnavailableError(f"the cloud store: {describe_error(error)}")


async def perform_each(operations: Sequence[Operation[T]]) -> list[T | None]:
    """Perform operations together, and singly if one fails, so that a damaged scope does not stop the others.

    The result of an operation that fails is None.
    """
    if len(operations) > 1:
        try:
            return list(await Batch[T](operations))
        except (*OUTAGE, *MOVED):
            raise
        except EdgeRedisError as error:
            _log.warning("one of %d scopes fails: %s", len(operations), error)
    results: list[T | None] = []
    for operation in operations:
        try:
            results.append(await operation)
        except (*OUTAGE, *MOVED):
            raise
        except EdgeRedisError as error:
            _log.error("left out: %s", error)
            results.append(None)
    return results


async def perform_on_shards(operations: Sequence[Operation[T]]) -> list[T | StoreOutOfMemoryError | None]:
    """Perform operations of several shards together. The result is the error where a shard has no memory.

    The result of an operation that fails by another error is None.
    """
    results: list[T | StoreOutOfMemoryError | None] = []
    found: list[Any] = await Batch(operations, return_exceptions=True) if operations else []
    for each in found:
        if isinstance(each, (*OUTAGE, *MOVED)) and not isinstance(each, StoreOutOfMemoryError):
            raise each
        is_damaged = isinstance(each, EdgeRedisError) and not isinstance(each, StoreOutOfMemoryError)
        if is_damaged:
            _log.error("left out: %s", each)
        results.append(None if is_damaged else each)
    return results
