"""How a worker handles errors: an outage is waited out, and a scope that fails does not hold up the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from edge_redis._core.operation import Batch, Operation, T
from edge_redis.errors import EdgeRedisError, StoreRefusedError, StoreUnavailableError

_log = logging.getLogger("edge_redis")

OUTAGE: Final = (StoreUnavailableError, StoreRefusedError, OSError)
"""The store cannot work now: not the change's failure, so it keeps its place and its count."""


def unavailable(error: BaseException) -> EdgeRedisError:
    """Return an outage as an error of this package."""
    return error if isinstance(error, EdgeRedisError) else StoreUnavailableError(f"the cloud store: {error!r}")


async def perform_each(operations: Sequence[Operation[T]]) -> list[T | None]:
    """Perform operations together, and singly where one fails: a scope with a key of another type stops no other.

    The result of an operation that fails is None.
    """
    if not operations:
        return []
    try:
        return list(await Batch[T](operations))
    except OUTAGE:
        raise
    except EdgeRedisError as error:
        _log.warning("one of %d scopes fails: %s", len(operations), error)
    results: list[T | None] = []
    for operation in operations:
        try:
            results.append(await operation)
        except OUTAGE:
            raise
        except EdgeRedisError as error:
            _log.error("left out: %s", error)
            results.append(None)
    return results
