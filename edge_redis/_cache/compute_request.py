"""A call of ``get_or_compute``, and the special result of its function, NoStore."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from edge_redis._cache.compute_options import ComputeOptions, ResultTtl

_MAX_AHEAD_MS: Final = 1 << 52


@dataclass(frozen=True, slots=True)
class NoStore:
    """The result of a function that is returned to its callers and not stored."""

    value: object


class ComputeRaisedError(Exception):
    """Wraps an exception from ``compute`` so that fail-open handling does not catch it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class ComputeRequest(NamedTuple):
    """One call of ``get_or_compute``, checked."""

    key: str
    compute: Callable[[], Any]
    ttl: ResultTtl
    options: ComputeOptions
    is_fail_open: bool
    """Whether the value is returned if it cannot be stored, and errors of ``compute`` are wrapped."""

    def draw_ahead_ms(self, cost_ms: int | None) -> int:
        """Return a random time before an entry is stale, to compute it anew then (XFetch: Vattani et al., 2015)."""
        if not self.options.early or cost_ms is None:
            return 0
        ahead = -cost_ms * self.options.early * math.log(1.0 - random.random())  # noqa: S311 -- no secret
        return round(min(ahead, _MAX_AHEAD_MS))
