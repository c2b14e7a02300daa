"""What a cloud store may have beyond the protocol: ``apply_many``, ``patterns`` and ``given`` of ``changes_since``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from edge_redis.errors import StoreReplyError


def find_apply_many(cloud: object) -> Callable[..., object] | None:
    """Return a store's ``apply_many``, None where it has none, or where ``apply`` was overridden without it."""
    if "apply" in getattr(cloud, "__dict__", ()):
        return None
    for each in type(cloud).__mro__:
        if "apply_many" in vars(each):
            found: Callable[..., object] = cloud.apply_many  # type: ignore[attr-defined]
            return found
        if "apply" in vars(each):
            return None
    return None


def takes(cloud: object, name: str) -> bool:
    """Return whether a store's ``changes_since`` has a parameter of this name."""
    try:
        return name in inspect.signature(cloud.changes_since).parameters  # type: ignore[attr-defined]
    except (AttributeError, TypeError, ValueError):
        return False


def check_results(found: object) -> Mapping[object, object]:
    """Return what ``apply_many`` returned, by scope.

    Raises:
        StoreReplyError: it is no mapping.

    """
    if not isinstance(found, Mapping):
        raise StoreReplyError(f"apply_many returned {type(found).__name__}, not a dict of scopes")
    return found
