"""What a cache accepts: time to live, keys, and the settings of one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from edge_redis._core import codec, validation

MAX_TTL_SECONDS: Final = 100 * 366 * 86_400
"""A hundred years."""

MAX_TAGS: Final = 64
"""Tags of one entry."""

EVICTIONS: Final = ("least_accessed", "lru", "adaptive")
ON_ERROR: Final = ("raise", "miss")

MAX_SHARDS: Final = 1024
CLUSTER_SHARDS: Final = 16
"""Shards of a cache on a cluster, by default."""

_MAX_INTERVAL_SECONDS: Final = 3600.0
_MIN_TTL_SECONDS: Final = 0.001
_MAX_VALUE_BYTES: Final = 512 * 1024 * 1024


def ttl_ms(name: str, ttl: object) -> int:
    """Return a time to live of seconds as whole milliseconds."""
    seconds = validation.positive(name, ttl)
    if seconds < _MIN_TTL_SECONDS:
        raise validation.value_error(name, ttl, "must be at least a millisecond (0.001)")
    if seconds > MAX_TTL_SECONDS:
        raise validation.value_error(name, ttl, f"must be at most {MAX_TTL_SECONDS} seconds (a hundred years)")
    return round(seconds * 1000)


def entry_keys(keys: object) -> list[str]:
    """Return the distinct keys of an iterable, in their order."""
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
        raise validation.type_error("keys", keys, "an iterable of str")
    return list(dict.fromkeys(validation.identifier("key", key) for key in keys))


def tag_names(tags: object) -> tuple[str, ...]:
    """Return the distinct tags of an iterable, in their order."""
    if isinstance(tags, (str, bytes)) or not isinstance(tags, Iterable):
        raise validation.type_error("tags", tags, "an iterable of str")
    names = tuple(dict.fromkeys(validation.identifier("tag", tag) for tag in tags))
    if len(names) > MAX_TAGS:
        raise validation.value_error("tags", names, f"must be at most {MAX_TAGS}")
    return names


def packed_tags(tags: object) -> str:
    """Return an iterable of tags as a JSON array, the empty string where there are none."""
    if tags == ():
        return ""
    names = tag_names(tags)
    return json.dumps(names) if names else ""


class NearCache(NamedTuple):
    """The bounds of a near cache: the entries that a process keeps in its own memory.

    Args:
        size: entries, at most.
        ttl: seconds that an entry is kept at most; it never outlives its TTL in Redis, and is dropped when
            another process writes it. This bounds its age where the announcement of a write is lost.

    """

    size: int = 1000
    ttl: float = 30.0


def near_settings(given: object) -> NearCache | None:
    """Return what the argument ``near_cache`` asks for: a NearCache, a mapping of its fields, True or False."""
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
    validation.integer("near_cache size", near.size, least=1)
    ttl_ms("near_cache ttl", near.ttl)
    return near


@dataclass(frozen=True, slots=True)
class Settings:
    """What a cache was made with, checked."""

    max_size: int = 1000
    default_ttl: float = 300.0
    eviction: str = "least_accessed"
    flush_every: int = 4096
    flush_interval: float = 0.2
    max_value_bytes: int = codec.MAX_VALUE_BYTES
    max_bytes: int | None = None
    ttl_jitter: float = 0.0
    shards: int = 1
    near: NearCache | None = None
    on_error: str = "raise"

    def __post_init__(self) -> None:
        validation.integer("max_size", self.max_size, least=1, most=1 << 52)
        ttl_ms("default_ttl", self.default_ttl)
        if validation.positive("flush_interval", self.flush_interval) > _MAX_INTERVAL_SECONDS:
            raise validation.value_error("flush_interval", self.flush_interval, "must be at most an hour (3600)")
        validation.integer("flush_every", self.flush_every, least=1)
        validation.integer("max_value_bytes", self.max_value_bytes, least=1, most=_MAX_VALUE_BYTES)
        if self.max_bytes is not None:
            validation.integer("max_bytes", self.max_bytes, least=1, most=1 << 52)
        if validation.non_negative("ttl_jitter", self.ttl_jitter) >= 1:
            raise validation.value_error("ttl_jitter", self.ttl_jitter, "must be below 1")
        _one_of("eviction", self.eviction, EVICTIONS)
        _one_of("on_error", self.on_error, ON_ERROR)
        self._check_together()

    def _check_together(self) -> None:
        validation.integer("shards", self.shards, least=1, most=MAX_SHARDS)
        if self.shards > min(self.max_size, self.max_bytes or self.max_size):
            raise validation.value_error("shards", self.shards, "must not be above max_size or max_bytes")
        if self.near is not None and self.flush_every == 1:
            raise validation.value_error(
                "flush_every", 1, "cannot count every read in Redis where near_cache answers reads"
            )

    @property
    def layout(self) -> str:
        """What all caches of a namespace agree on, as it stands in Redis."""
        parts = [self.eviction]
        if self.shards > 1:
            parts.append(f"shards={self.shards}")
        if self.max_bytes is not None:
            parts.append("bytes")
        return " ".join(parts)

    def share(self, number: int) -> Settings:
        """Return the settings of one shard: its part of the bounds."""
        if self.shards == 1:
            return self
        part = partial(_part, shards=self.shards, number=number)
        return replace(
            self,
            max_size=part(self.max_size),
            max_bytes=None if self.max_bytes is None else part(self.max_bytes),
            shards=1,
        )


def _one_of(name: str, value: object, known: Sequence[str]) -> None:
    if validation.text(name, value) not in known:
        raise validation.value_error(name, value, f"must be one of {', '.join(known)}")


def _part(whole: int, *, shards: int, number: int) -> int:
    return whole // shards + (number < whole % shards)
