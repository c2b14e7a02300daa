"""Writes that were applied and not replicated in time, so that their repeats can be recognised."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from edge_redis._core.idempotency import IdempotencyKey
from edge_redis._core.operation import Operation
from edge_redis._sync.change import Change
from edge_redis._sync.replies import CurrentState, Written

_MOST: Final = 100

Call: TypeAlias = tuple[str, bytes, bool, int | None]
"""The scope, the encoded data, whether they are a delta, and the version that the scope must be at."""


class UnreplicatedWrite(NamedTuple):
    """A version that was written, and the operation that repeats the write under its idempotency key."""

    key: IdempotencyKey
    operation: Operation[Written | CurrentState]
    change: Change


class UnreplicatedWrites:
    """The newest unreplicated writes by the calls that made them. No other call gets their idempotency keys."""

    def __init__(self) -> None:
        self._writes: dict[Call, UnreplicatedWrite] = {}

    def add(self, call: Call, write: UnreplicatedWrite) -> None:
        """Keep a write, and its idempotency key."""
        write.key.keep()
        self._writes[call] = write
        for oldest in list(self._writes)[:-_MOST]:
            self._writes.pop(oldest, None)

    def take(self, call: Call) -> UnreplicatedWrite | None:
        """Remove and return the write of this call; its key is free at the end of its context."""
        write = self._writes.pop(call, None)
        if write is not None:
            write.key.resume()
        return write
