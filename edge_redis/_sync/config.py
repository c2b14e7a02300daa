"""How an end decides and how much it keeps."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final, Literal

from edge_redis._core import validation
from edge_redis.models import ConflictStrategy

MAX_KEPT: Final = 100_000
MAX_PENDING: Final = 1_000_000


def strategy_named(value: object) -> ConflictStrategy:
    """Return the strategy, given as one or by its value."""
    if not isinstance(value, str):
        raise validation.type_error("conflict_strategy", value, "a ConflictStrategy")
    try:
        return ConflictStrategy(value)
    except ValueError as error:
        raise validation.value_error(
            "conflict_strategy", value, f"must be one of {[*map(str, ConflictStrategy)]}"
        ) from error


def strategy_of(words: str) -> ConflictStrategy:
    """Return the strategy in a scope's settings at an edge; REMOTE_WINS where they name none."""
    try:
        return ConflictStrategy(words.split(" ", 1)[0])
    except ValueError:
        return ConflictStrategy.REMOTE_WINS


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one end, checked."""

    role: Literal["edge", "cloud"]
    strategy: ConflictStrategy = ConflictStrategy.REMOTE_WINS
    max_pending: int = 100
    overflow: str = "coalesce"
    origin: str = ""
    max_history: int = 1000
    max_conflicts: int = 1000
    site: str = field(default_factory=lambda: secrets.token_hex(8))
    """The name this store gets where it has none yet."""

    def __post_init__(self) -> None:
        validation.integer("max_pending", self.max_pending, least=1, most=MAX_PENDING)
        validation.integer("max_history", self.max_history, least=1, most=MAX_KEPT)
        validation.integer("max_conflicts", self.max_conflicts, least=1, most=MAX_KEPT)
        if self.overflow not in ("coalesce", "reject"):
            raise validation.value_error("overflow", self.overflow, 'must be "coalesce" or "reject"')

    @property
    def words(self) -> str:
        """The settings as the scripts read them."""
        return f"{self.strategy.value} {self.max_pending} {self.overflow} {self.origin}"
