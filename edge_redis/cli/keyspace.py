"""The keys of namespaces on a server: counted, and removed in bounded steps."""

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


def drop_namespace(client: Any, namespace: str) -> int:
    """Remove every key of a namespace, a page at a time; return how many."""
    from edge_redis._core.keys import namespace_name

    with _translated_errors("removing keys"):
        return _drop_namespace(client, namespace_name(namespace))


@contextmanager
def _translated_errors(action: str) -> Iterator[None]:
    from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate

    try:
        yield
    except LIBRARY_ERRORS as error:
        raise translate(error, action) from error


def _drop_namespace(client: Any, name: str) -> int:
    removed = 0
    page: list[bytes] = []
    for key in _scan(client, f"er:{{{_escape(name)}:*"):
        match = _TAG.match(key)
        if match and match["namespace"].decode() == name:
            page.append(key)
        if len(page) == _PAGE:
            removed, page = removed + _remove(client, page), []
    return removed + _remove(client, page)


def _scan(client: Any, pattern: str) -> Iterator[bytes]:
    yield from client.scan_iter(match=pattern, count=_PAGE)


def _remove(client: Any, keys: list[bytes]) -> int:
    if not keys:
        return 0
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.unlink(key)
    return sum(pipeline.execute())


def _escape(text: str) -> str:
    return re.sub(r"([*?\[\]\\^])", r"\\\1", text)
