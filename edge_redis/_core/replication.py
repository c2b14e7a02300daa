"""Writes that replicas must acknowledge: an operation, then WAIT and WAITAOF on the same connection."""

from __future__ import annotations

from typing import Any, Final, Generic, NamedTuple, TypeVar

from edge_redis._core import validation
from edge_redis._core.operation import Operation
from edge_redis.errors import NotReplicatedError

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 2.0
"""How long to wait for replicas by default. An AOF that is synced once a second may take a second of it."""

_MAX_REPLICAS: Final = 1000
_MAX_SECONDS: Final = 60.0


class Replication(NamedTuple):
    """How many replicas must acknowledge a write, and how many seconds they have for it."""

    replicas: int
    seconds: float

    @property
    def commands(self) -> list[tuple[Any, ...]]:
        """The commands to send after the write: for the replicas, then for the server's own append-only file."""
        ms = max(1, round(self.seconds * 1000))
        return [("WAIT", self.replicas, ms), ("WAITAOF", 1, 0, ms)]


def check_replication(replicas: object, seconds: object) -> Replication | None:
    """Return the replication that a call asks for, None for no replicas."""
    count = validation.check_integer("replicas", replicas, least=0, most=_MAX_REPLICAS)
    limit = validation.check_positive("replication_timeout", seconds)
    if limit > _MAX_SECONDS:
        raise validation.value_error("replication_timeout", seconds, f"must be at most {_MAX_SECONDS}")
    return Replication(count, limit) if count else None


class Acknowledged(NamedTuple, Generic[T]):
    """The result of a write, and what its replication lacks."""

    result: T
    shortfall: str
    """Empty where nothing is missing."""

    def check(self) -> T:
        """Return the result of a write that was applied.

        Raises:
            NotReplicatedError: something is missing.

        """
        if self.shortfall:
            raise NotReplicatedError(f"applied, but not replicated: {self.shortfall}")
        return self.result


class ReplicatedOperation(Operation[Acknowledged[T]]):
    """An operation whose result says whether replicas have acknowledged it.

    A script that recognises a repeat writes something nevertheless (``lua/idempotency.lua``): WAIT covers
    only the writes of its own connection, and the repeat may come on another connection.
    """

    __slots__ = ("replication",)

    def __init__(self, operation: Operation[T], replication: Replication) -> None:
        super().__init__(operation.args, lambda reply: Acknowledged(operation.decode(reply), ""), operation.script)
        self.replication = replication
