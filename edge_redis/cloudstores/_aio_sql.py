"""SqlCloudStore for asyncio: the blocking one, in threads of the loop's own pool.

Not on SQLAlchemy's asyncio engine: that needs greenlet and another driver for each database, and a call is
one transaction of several statements, so one thread serves it no worse. So both are one definition.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from edge_redis._io.threads import in_thread
from edge_redis._services.bind import described_by
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS
from edge_redis.cloudstores import sql

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.engine import URL

P = ParamSpec("P")
T = TypeVar("T")


def _threaded(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], Awaitable[T]]:
    """Return the coroutine function that calls a blocking store's method in a thread."""

    @described_by(method)
    @wraps(method)
    async def awaited(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await in_thread(method, self._store, *args, **kwargs)

    return awaited


class SqlCloudStore:
    """The cloud's states in PostgreSQL or SQLite: what a CloudWorker pushes to and pulls from.

    Its tables are made at the first use. Safe to use from many tasks, threads and processes. A call that is
    cancelled comes to its end in its thread.

    Args:
        engine_or_url: a blocking ``sqlalchemy.Engine``, which stays open, or a URL of one, for which an
            engine is made and closed here.
        namespace: that of the edges it serves.
        max_history: pushed changes kept a scope, up to 100,000.
        max_conflicts: losing sides kept a scope, up to 100,000.
        max_bytes: of a state written here, once encoded; up to 16 MiB, the default. Edges' changes are not bound.
        max_fields: of such a state, at the top level, up to 1,000,000.

    Raises:
        InvalidArgumentError, InvalidTypeError: no such database can be used.

    """

    scopes_at_once: int
    """How many scopes a CloudWorker pushes at once: SQLite has one writer at a time."""

    def __init__(
        self,
        engine_or_url: sa.Engine | URL | str,
        *,
        namespace: str = "default",
        max_history: int = 1000,
        max_conflicts: int = 1000,
        max_bytes: int = MAX_BYTES,
        max_fields: int = MAX_FIELDS,
    ) -> None:
        self._store = sql.SqlCloudStore(
            engine_or_url,
            namespace=namespace,
            max_history=max_history,
            max_conflicts=max_conflicts,
            max_bytes=max_bytes,
            max_fields=max_fields,
        )
        self.scopes_at_once = self._store.scopes_at_once

    get = _threaded(sql.SqlCloudStore.get)
    update = _threaded(sql.SqlCloudStore.update)
    delete_fields = _threaded(sql.SqlCloudStore.delete_fields)
    delete = _threaded(sql.SqlCloudStore.delete)
    apply = _threaded(sql.SqlCloudStore.apply)
    changes_since = _threaded(sql.SqlCloudStore.changes_since)
    release_authority = _threaded(sql.SqlCloudStore.release_authority)
    collect = _threaded(sql.SqlCloudStore.collect)
    sync_history = _threaded(sql.SqlCloudStore.sync_history)
    conflicts = _threaded(sql.SqlCloudStore.conflicts)
    close = _threaded(sql.SqlCloudStore.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
