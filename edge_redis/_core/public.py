"""Makes public classes and functions name the module that users import them from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def publish(module: str, namespace: Mapping[str, Any], names: Iterable[str]) -> None:
    """Set ``__module__`` of the classes and functions ``names`` to ``module``.

    So ``repr``, tracebacks and pickles say ``edge_redis.EdgeCache``, and internal modules can be moved.
    """
    for name in names:
        value = namespace[name]
        if getattr(value, "__module__", "").startswith("edge_redis."):
            value.__module__ = module
