"""Patterns of scopes as a condition of a query: the rules of ``_sync/patterns.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, or_

from edge_redis._sync.patterns import ALL


def matches(column: Any, patterns: Sequence[str], *, is_sqlite: bool) -> ColumnElement[bool] | None:
    """Return the condition that a scope matches one of the patterns, None where every scope does."""
    if ALL in patterns:
        return None
    if is_sqlite:  # where LIKE does not tell capitals from small letters
        return or_(*(column.op("GLOB", is_comparison=True)(each.replace("[", "[[]")) for each in patterns))
    return or_(*(column.like(_to_like(each), escape="\\") for each in patterns))


def _to_like(pattern: str) -> str:
    for special in ("\\", "%", "_"):
        pattern = pattern.replace(special, "\\" + special)
    return pattern.replace("*", "%").replace("?", "_")
