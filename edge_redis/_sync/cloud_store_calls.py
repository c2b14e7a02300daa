"""The optional method of a cloud store that applies changes of several scopes in one call."""

from __future__ import annotations

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


def check_results(found: object) -> Mapping[object, object]:
    """Return what ``apply_many`` returned, by scope.

    Raises:
        StoreReplyError: it is no mapping.

    """
    if not isinstance(found, Mapping):
        raise StoreReplyError(f"apply_many returned {type(found).__name__}, not a dict of scopes")
    return found
