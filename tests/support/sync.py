"""What the tests of synchronizing share."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from edge_redis import SyncState
from edge_redis.cloudstores import Feed
from support.clouds import rows
from support.servers import Backend

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EDGE = "er:{default:sync0}"
CLOUD = "er:{default:cloud0}"


def remote(data: dict[str, Any], version: int, *, origin: str = "", at: datetime | None = None) -> SyncState:
    """Return a state as another end would send it."""
    state = SyncState.from_data(data, version)
    return replace(state, origin=origin, updated_at=at or state.updated_at)


def dump(backend: Backend) -> dict[bytes, Any]:
    """Return every key and what it holds, and every row of a cloud in an SQL database."""
    readers = {
        b"hash": lambda client, key: client.hgetall(key),
        b"string": lambda client, key: client.get(key),
        b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
        b"stream": lambda client, key: client.xrange(key),
        b"list": lambda client, key: client.lrange(key, 0, -1),
    }
    with backend.client() as client:
        found = {key: readers[client.type(key)](client, key) for key in sorted(client.keys())}
    if backend.sql:
        found |= {name.encode(): kept for name, kept in rows(backend.sql).items()}
    return found


class FailingStore:
    """A cloud that fails for the versions given, or all, and keeps the rest."""

    def __init__(self, *versions: Any, error: Any = None) -> None:
        self.versions = versions
        self.error = error or RuntimeError("no room")
        self.calls: list[list[int]] = []
        self.kept: list[tuple[Any, ...]] = []

    def get(self, scope: Any) -> None:
        return None

    def apply(self, scope: Any, changes: Any, strategy: Any) -> None:
        self.calls.append([change.version for change in changes])
        if not self.versions or {change.version for change in changes} & set(self.versions):
            raise self.error
        self.kept += [(scope, change.version, change.data, strategy) for change in changes]

    def changes_since(self, cursor: Any, limit: Any) -> Any:
        return Feed(cursor, [])


def fake(test: Any) -> Any:
    """Run a test on the one server and in the one API: of what it shows neither knows more than the other."""
    for name, value in (("backend", "fakeredis"), ("make", "blocking")):
        test = pytest.mark.parametrize(name, [value], indirect=True)(test)
    return test
