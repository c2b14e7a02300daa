"""The namespaces on a server, found by their keys."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_PAGE: Final = 500
_TAG: Final = re.compile(rb"^er:\{(?P<namespace>[^}]+):[^:}]+\}")


def count_keys(client: Any) -> dict[str, int]:
    """Return the number of keys of each namespace."""
    found: Counter[str] = Counter()
    with _translated_errors("counting keys"):
        _count_keys(client, found)
    return dict(found)


def _count_keys(client: Any, found: Counter[str]) -> None:
    for key in _scan(client, "er:{*"):
        match = _TAG.match(key)
        if match:
            found[match["namespace"].decode()] += 1


@contextmanager
def _translated_errors(action: str) -> Iterator[None]:
    from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate

    try:
        yield
    except LIBRARY_ERRORS as error:
        raise translate(error, action) from error


def _scan(client: Any, pattern: str) -> Iterator[bytes]:
    yield from client.scan_iter(match=pattern, count=_PAGE)
