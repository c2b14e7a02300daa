"""Checks of the arguments that the methods of a cache take."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from enum import Enum
from typing import Final, TypeAlias

from edge_redis._core import validation

MAX_TTL_SECONDS: Final = 100 * 366 * 86_400
"""A hundred years."""

MAX_TAGS: Final = 64
"""Tags of one entry."""

_MIN_TTL_SECONDS: Final = 0.001


class NoExpiry(Enum):
    """The type of ``NO_EXPIRY``."""

    NO_EXPIRY = "no expiry"

    def __repr__(self) -> str:
        return "NO_EXPIRY"


NO_EXPIRY: Final = NoExpiry.NO_EXPIRY
"""Instead of a TTL: the entry never expires. It can still be evicted."""

NEVER_MS: Final = 0
"""NO_EXPIRY as a TTL in milliseconds."""

Ttl: TypeAlias = float | timedelta | NoExpiry | None
"""A time to live: seconds, a timedelta, NO_EXPIRY, or None for the default."""


def check_ttl(name: str, ttl: object, *, allow_never: bool = False) -> int:
    """Return a time to live, in seconds or a timedelta, as whole milliseconds; NEVER_MS for NO_EXPIRY."""
    if ttl is NO_EXPIRY and allow_never:
        return NEVER_MS
    seconds = validation.check_positive(name, ttl.total_seconds() if isinstance(ttl, timedelta) else ttl)
    if seconds < _MIN_TTL_SECONDS:
        raise validation.value_error(name, ttl, "must be at least a millisecond (0.001)")
    if seconds > MAX_TTL_SECONDS:
        raise validation.value_error(name, ttl, f"must be at most {MAX_TTL_SECONDS} seconds (a hundred years)")
    return round(seconds * 1000)


def check_optional_ttl(name: str, ttl: object) -> int:
    """Return a time to live in seconds as whole milliseconds, 0 for None."""
    return 0 if ttl is None else check_ttl(name, ttl)


def check_keys(keys: object) -> list[str]:
    """Return the distinct keys of an iterable, in their order."""
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
        raise validation.type_error("keys", keys, "an iterable of str")
    return list(dict.fromkeys(validation.check_identifier("key", key) for key in keys))


def check_tags(tags: object) -> tuple[str, ...]:
    """Return the distinct tags of an iterable, in their order."""
    if isinstance(tags, (str, bytes)) or not isinstance(tags, Iterable):
        raise validation.type_error("tags", tags, "an iterable of str")
    names = tuple(dict.fromkeys(validation.check_identifier("tag", tag) for tag in tags))
    if len(names) > MAX_TAGS:
        raise validation.value_error("tags", names, f"must be at most {MAX_TAGS}")
    return names


def pack_tags(tags: object) -> str:
    """Return an iterable of tags as a JSON array, the empty string for no tags."""
    if tags == ():
        return ""
    names = check_tags(tags)
    return json.dumps(names) if names else ""
