"""The options of syncing, validated once: of one end of the exchange, and of a worker."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Self

from edge_redis._core import validation
from edge_redis._sync.origin import CLOUD_ORIGIN, check_origin_name
from edge_redis.models import ConflictStrategy
from edge_redis.types import Overflow

MAX_KEPT: Final = 100_000
MAX_PENDING: Final = 1_000_000
MAX_PENDING_BYTES: Final = 2**50
MAX_BATCH: Final = 1000


def check_strategy(value: object) -> ConflictStrategy:
    """Return a strategy, given as one or by its value."""
    if not isinstance(value, str):
        raise validation.type_error("conflict_strategy", value, "a ConflictStrategy")
    try:
        return ConflictStrategy(value)
    except ValueError as error:
        raise validation.value_error(
            "conflict_strategy", value, f"must be one of {[*map(str, ConflictStrategy)]}"
        ) from error


def strategy_of(settings: str) -> ConflictStrategy:
    """Return the strategy in a scope's settings at an edge; REMOTE_WINS where they name none."""
    try:
        return ConflictStrategy(settings.split(" ", 1)[0].removeprefix("?"))
    except ValueError:
        return ConflictStrategy.REMOTE_WINS


@dataclass(frozen=True, slots=True)
class EndConfig:
    """The options of one end of the exchange: an edge, as a synchronizer or a worker sees it, or the cloud."""

    role: Literal["edge", "cloud"]
    strategy: ConflictStrategy = ConflictStrategy.REMOTE_WINS
    max_pending: int = 100
    overflow: Overflow = "coalesce"
    max_pending_bytes: int | None = None
    """Bytes of the outbox at most; None: not bounded."""
    origin: str = ""
    """The name under which states are written, "" for the replica id."""
    max_history: int = 1000
    max_conflicts: int = 1000
    proposed_replica_id: str = field(default_factory=lambda: secrets.token_hex(8))
    """The random prefix of the replica id that the store gets if it has none yet."""
    settings: str = field(init=False)
    """strategy, max_pending, overflow and origin as the scripts read them; max_pending_bytes is a part of overflow."""
    writer: str = field(init=False)
    """proposed replica id and origin as ``lua/update_cloud.lua`` reads them."""
    exchange: str = field(init=False)
    """role, proposed replica id, max_history and max_conflicts as ``lua/apply.lua`` reads them."""

    def __post_init__(self) -> None:
        validation.check_integer("max_pending", self.max_pending, least=1, most=MAX_PENDING)
        validation.check_integer("max_history", self.max_history, least=1, most=MAX_KEPT)
        validation.check_integer("max_conflicts", self.max_conflicts, least=1, most=MAX_KEPT)
        if self.overflow not in ("coalesce", "reject"):
            raise validation.value_error("overflow", self.overflow, 'must be "coalesce" or "reject"')
        overflow: str = self.overflow
        if self.max_pending_bytes is not None:
            validation.check_integer("max_pending_bytes", self.max_pending_bytes, least=1, most=MAX_PENDING_BYTES)
            overflow = f"{overflow}:{self.max_pending_bytes}"
        settings = f"{self.strategy.value} {self.max_pending} {overflow} {self.origin}"
        object.__setattr__(self, "settings", settings)
        replica = f"{self.role} {self.proposed_replica_id}"
        object.__setattr__(self, "writer", f"{self.proposed_replica_id} {self.origin}")
        object.__setattr__(self, "exchange", f"{replica} {self.max_history} {self.max_conflicts}")

    @classmethod
    def of_edge(
        cls,
        strategy: object,
        max_pending: int,
        *,
        overflow: Overflow,
        origin: object,
        max_history: int,
        max_conflicts: int,
        max_pending_bytes: int | None = None,
    ) -> Self:
        """Return the options of a synchronizer, validated."""
        return cls(
            "edge",
            check_strategy(strategy),
            max_pending,
            overflow,
            max_pending_bytes,
            "" if origin is None else check_origin_name("origin", origin),
            max_history,
            max_conflicts,
        )

    @classmethod
    def of_cloud(cls, max_history: int, max_conflicts: int) -> Self:
        """Return the options of a cloud store, validated."""
        return cls("cloud", origin=CLOUD_ORIGIN, max_history=max_history, max_conflicts=max_conflicts)

    def with_strategy(self, strategy: ConflictStrategy) -> Self:
        """Return the same options with another strategy."""
        return replace(self, strategy=strategy)


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """The options of a worker."""

    group: str
    consumer: str
    """The worker's name, ``#`` and a token of this process."""
    batch_size: int
    claim_idle_ms: int
    max_deliveries: int

    @classmethod
    def validate(
        cls, group: object, consumer: object, batch_size: int, claim_idle_seconds: float, max_deliveries: int
    ) -> Self:
        """Return the options, validated; the claim time in whole milliseconds."""
        return cls(
            validation.check_identifier("group", group),
            f"{validation.check_identifier('consumer', consumer)}#{secrets.token_hex(6)}",
            validation.check_integer("batch_size", batch_size, least=1, most=MAX_BATCH),
            validation.to_milliseconds(validation.check_positive("claim_idle_seconds", claim_idle_seconds)),
            validation.check_integer("max_deliveries", max_deliveries, least=1, most=1_000_000),
        )

    @property
    def tries_together(self) -> int:
        """How often a batch is tried as a whole before its changes are tried one by one.

        A worker rarely dies because of its batch, so its successor retries the whole batch once.
        """
        return max(1, min(2, self.max_deliveries - 1))
