"""Runs several operations of a cache in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final, TypeVar

from edge_redis._cache.script_requests import CallId
from edge_redis._core.chunks import split_chunks
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Batch, Operation

T = TypeVar("T")

CHUNK: Final = 100
"""Entries that one call of a script stores, reads or removes."""


async def run_together(operations: Sequence[Operation[T]]) -> list[T]:
    """Run operations in one round trip. A single one is sent by itself, which costs less than a batch."""
    if len(operations) == 1:
        return [await operations[0]]
    return (await Batch(operations)) if operations else []


async def run_in_chunks(
    keys: Sequence[str],
    build: Callable[[Sequence[str], CallId], Operation[T]],
    idempotency: IdempotencyKeys,
) -> list[T]:
    """Run the operation that ``build`` makes for each chunk of ``keys``, all in one round trip."""
    with ExitStack() as calls:
        operations = [build(chunk, calls.enter_context(idempotency.acquire())) for chunk in split_chunks(keys, CHUNK)]
        return await run_together(operations)
