"""What a cache accepts: time to live, keys, and the settings of one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edge_redis.core import check, codec

MAX_TTL_SECONDS: Final = 100 * 366 * 86_400
"""A hundred years."""

MAX_TAGS: Final = 64
"""Tags of one entry."""

EVICTIONS: Final = ("least_accessed", "lru")

_MAX_INTERVAL_SECONDS: Final = 3600.0
_MIN_TTL_SECONDS: Final = 0.001
_MAX_VALUE_BYTES: Final = 512 * 1024 * 1024


def ttl_ms(name: str, ttl: object) -> int:
    """Return a time to live of seconds as whole milliseconds."""
    seconds = check.positive(name, ttl)
    if seconds < _MIN_TTL_SECONDS:
        raise check.value_error(name, ttl, "must be at least a millisecond (0.001)")
    if seconds > MAX_TTL_SECONDS:
        raise check.value_error(name, ttl, f"must be at most {MAX_TTL_SECONDS} seconds (a hundred years)")
    return round(seconds * 1000)


def entry_keys(keys: object) -> list[str]:
    """Return the distinct keys of an iterable, in their order."""
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
        raise check.type_error("keys", keys, "an iterable of str")
    return list(dict.fromkeys(check.identifier("key", key) for key in keys))


def tag_names(tags: object) -> tuple[str, ...]:
    """Return the distinct tags of an iterable, in their order."""
    if isinstance(tags, (str, bytes)) or not isinstance(tags, Iterable):
        raise check.type_error("tags", tags, "an iterable of str")
    names = tuple(dict.fromkeys(check.identifier("tag", tag) for tag in tags))
    if len(names) > MAX_TAGS:
        raise check.value_error("tags", names, f"must be at most {MAX_TAGS}")
    return names


def packed_tags(tags: object) -> str:
    """Return an iterable of tags as a JSON array, the empty string where there are none."""
    names = tag_names(tags)
    return json.dumps(names) if names else ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a cache was made with, checked."""

    max_size: int = 1000
    default_ttl: float = 300.0
    eviction: str = "least_accessed"
    flush_every: int = 1024
    flush_interval: float = 0.2
    max_value_bytes: int = codec.MAX_VALUE_BYTES

    def __post_init__(self) -> None:
        check.integer("max_size", self.max_size, least=1, most=1 << 52)
        ttl_ms("default_ttl", self.default_ttl)
        if check.positive("flush_interval", self.flush_interval) > _MAX_INTERVAL_SECONDS:
            raise check.value_error("flush_interval", self.flush_interval, "must be at most an hour (3600)")
        check.integer("flush_every", self.flush_every, least=1)
        check.integer("max_value_bytes", self.max_value_bytes, least=1, most=_MAX_VALUE_BYTES)
        if check.text("eviction", self.eviction) not in EVICTIONS:
            raise check.value_error("eviction", self.eviction, f"must be one of {', '.join(EVICTIONS)}")
