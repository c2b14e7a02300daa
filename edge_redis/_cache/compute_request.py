"""A call of ``get_or_compute``, and the results of its function that mean more than a value."""

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
    """Whether a value that cannot be stored is no error, and errors of ``compute`` are wrapped."""

    def ahead_ms(self, cost_ms: int | None) -> int:
        """Return how long before it is stale an entry is computed anew (XFetch: Vattani et al., VLDB 2015)."""
        if not self.options.early or cost_ms is None:
            return 0
        ahead = -cost_ms * self.options.early * math.log(1.0 - random.random())  # noqa: S311 -- no secret
        return round(min(ahead, _MAX_AHEAD_MS))
