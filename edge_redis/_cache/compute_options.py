"""The options of ``get_or_compute`` and ``cached``, validated once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from edge_redis._cache.arguments import Ttl, check_optional_ttl, check_ttl, pack_tags
from edge_redis._core import validation

LEASE_SECONDS: Final = 10.0
"""Default time after which another caller computes if the process of the one that does has died."""

ResultTtl: TypeAlias = Ttl | Callable[[Any], Ttl]
"""A TTL, or a function that returns the TTL of a computed value."""

ResultTags: TypeAlias = Iterable[str] | Callable[[Any], Iterable[str]]
"""Tags, or a function that returns the tags of a computed value."""


@dataclass(frozen=True, slots=True)
class ComputeOptions:
    """How a value is computed and stored (see ``EdgeCache.get_or_compute``)."""

    tags: str | Callable[[Any], Iterable[str]]
    """Packed tags, or a function of the value."""
    lease_ms: int
    stale_ms: int
    early: float
    negative_ttl: Ttl
    error_ms: int

    @property
    def accepts_stale(self) -> bool:
        """Whether an entry is returned however stale it is, as by a plain read."""
        return not (self.stale_ms or self.early)


def check_compute_options(
    tags: ResultTags = (),
    stale_ttl: Ttl = None,
    lease_seconds: float = LEASE_SECONDS,
    early: float = 0.0,
    negative_ttl: Ttl = None,
    error_ttl: Ttl = None,
) -> ComputeOptions:
    """Return the options, checked."""
    if negative_ttl is not None:
        check_ttl("negative_ttl", negative_ttl, allow_never=True)
    return ComputeOptions(
        tags if callable(tags) else pack_tags(tags),
        check_ttl("lease_seconds", lease_seconds),
        check_optional_ttl("stale_ttl", stale_ttl),
        validation.check_non_negative("early", early),
        negative_ttl,
        check_optional_ttl("error_ttl", error_ttl),
    )
