"""Writes that replicas must acknowledge or disks must have: an operation, then WAIT and WAITAOF on its connection."""

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
    """Where a write must be, and how many seconds it has to get there."""

    replicas: int
    """So many replicas must have it."""
    seconds: float
    fsync: bool = False
    """Whether it must be on the disks of the server and of those replicas."""

    @property
    def commands(self) -> list[tuple[Any, ...]]:
        """The commands to send after the write: for the replicas, then for the server's own append-only file."""
        ms = max(1, round(self.seconds * 1000))
        if self.fsync:
            return [("WAITAOF", 1, self.replicas, ms)]
        return [("WAIT", self.replicas, ms), ("WAITAOF", 1, 0, ms)]


def check_replication(replicas: object, seconds: object, *, fsync: object = False) -> Replication | None:
    """Return the replication that a call asks for; None where it asks for nothing."""
    if replicas == 0 and fsync is False and seconds is TIMEOUT_SECONDS and type(replicas) is int:
        return None  # the defaults, without a frame for each of them
    count = validation.check_integer("replicas", replicas, least=0, most=_MAX_REPLICAS)
    limit = validation.check_positive("replication_timeout", seconds)
    if limit > _MAX_SECONDS:
        raise validation.value_error("replication_timeout", seconds, f"must be at most {_MAX_SECONDS}")
    if not isinstance(fsync, bool):
        validation.check_instance("fsync", fsync, bool)
    return Replication(count, limit, bool(fsync)) if count or fsync else None


class Acknowledged(NamedTuple, Generic[T]):
    """The result of a write, and what its replication lacks."""

    result: T
    shortfall: str
    """What is missing, such as "not replicated: ..."; empty where nothing is."""

    def check(self) -> T:
        """Return the result of a write that was applied.

        Raises:
            NotReplicatedError: something is missing.

        """
        if self.shortfall:
            raise NotReplicatedError(f"applied, but {self.shortfall}")
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
