"""The options of a cache, validated once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple

from edge_redis._cache.arguments import check_ttl
from edge_redis._core import validation
from edge_redis._core.codec import DEFAULT, MAX_VALUE_BYTES, Codec
from edge_redis._core.shards import MAX_SHARDS, share_of

EVICTIONS: Final = ("least_accessed", "lru", "adaptive")
ON_ERROR: Final = ("raise", "miss")

_MAX_INTERVAL_SECONDS: Final = 3600.0
_MAX_VALUE_BYTES: Final = 512 * 1024 * 1024
_MAX_BOUND: Final = 1 << 52


class NearCache(NamedTuple):
    """The bounds of a near cache: the entries that a process keeps in its own memory.

    Attributes:
        size: entries, at most.
        ttl: seconds that an entry is kept, at most. It never outlives its TTL in Redis, and is dropped when
            any client writes its key; this bounds its age where the message about that write is lost.

    """

    size: int = 1000
    ttl: float = 30.0


def check_near_cache(given: object) -> NearCache | None:
    """Return the near cache that the argument ``near_cache`` asks for: a NearCache, its fields, True or False."""
    if given is None or given is False:
        return None
    if given is True:
        return NearCache()
    if isinstance(given, Mapping):
        unknown = set(given) - set(NearCache._fields)
        if unknown:
            raise validation.value_error("near_cache", given, f"has {', '.join(NearCache._fields)} and nothing else")
        near = NearCache(**given)
    elif isinstance(given, NearCache):
        near = given
    else:
        raise validation.type_error("near_cache", given, "a NearCache, a mapping of its fields, or a bool")
    validation.check_integer("near_cache size", near.size, least=1)
    return near._replace(ttl=check_ttl("near_cache ttl", near.ttl) / 1000)


class Bounds(NamedTuple):
    """The most that one shard holds."""

    max_size: int
    """Live entries."""
    max_bytes: int | None
    """Bytes of keys and values; None for no such bound."""


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """The options of a cache (see ``EdgeCache``)."""

    max_size: int = 1000
    default_ttl: float | timedelta = 300.0
    eviction: str = "least_accessed"
    flush_every: int = 4096
    flush_interval: float = 0.2
    max_value_bytes: int = MAX_VALUE_BYTES
    max_bytes: int | None = None
    ttl_jitter: float = 0.0
    shards: int = 1
    near: NearCache | None = None
    on_error: str = "raise"
    codec: Codec = DEFAULT
    default_ttl_ms: int = field(init=False)
    """TTL of an entry that is put without one, before jitter."""

    def __post_init__(self) -> None:
        validation.check_integer("max_size", self.max_size, least=1, most=_MAX_BOUND)
        object.__setattr__(self, "default_ttl_ms", check_ttl("default_ttl", self.default_ttl))
        if isinstance(self.default_ttl, timedelta):
            object.__setattr__(self, "default_ttl", self.default_ttl.total_seconds())
        if validation.check_positive("flush_interval", self.flush_interval) > _MAX_INTERVAL_SECONDS:
            raise validation.value_error("flush_interval", self.flush_interval, "must be at most an hour (3600)")
        validation.check_integer("flush_every", self.flush_every, least=1)
        validation.check_integer("max_value_bytes", self.max_value_bytes, least=1, most=_MAX_VALUE_BYTES)
        if self.max_bytes is not None:
            validation.check_integer("max_bytes", self.max_bytes, least=1, most=_MAX_BOUND)
        if validation.check_non_negative("ttl_jitter", self.ttl_jitter) >= 1:
            raise validation.value_error("ttl_jitter", self.ttl_jitter, "must be below 1")
        _check_choice("eviction", self.eviction, EVICTIONS)
        _check_choice("on_error", self.on_error, ON_ERROR)
        self._check_combinations()

    def _check_combinations(self) -> None:
        validation.check_integer("shards", self.shards, least=1, most=MAX_SHARDS)
        if self.shards > min(self.max_size, self.max_bytes or self.max_size):
            raise validation.value_error("shards", self.shards, "must not be above max_size or max_bytes")
        if self.near is not None and self.flush_every == 1:
            raise validation.value_error(
                "flush_every", 1, "cannot count every read in Redis where near_cache answers reads"
            )

    @property
    def is_exact(self) -> bool:
        """Whether each read counts its access in Redis in the same step."""
        return self.flush_every == 1

    @property
    def fingerprint(self) -> str:
        """The options that all caches of a namespace must share, as they are stored in Redis."""
        parts = [self.eviction]
        if self.shards > 1:
            parts.append(f"shards={self.shards}")
        if self.max_bytes is not None:
            parts.append("bytes")
        return " ".join(parts)

    def shard_bounds(self, number: int) -> Bounds:
        """Return the share of the bounds that shard ``number`` has."""
        max_bytes = None if self.max_bytes is None else self._share(self.max_bytes, number)
        return Bounds(self._share(self.max_size, number), max_bytes)

    def _share(self, whole: int, number: int) -> int:
        return share_of(whole, number, self.shards)


def _check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if validation.check_text(name, value) not in choices:
        raise validation.value_error(name, value, f"must be one of {', '.join(choices)}")
