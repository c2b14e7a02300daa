"""SqlCloudStore: the cloud's states in PostgreSQL or SQLite, by SQLAlchemy; AsyncSqlCloudStore for ``edge_redis.aio``.

    from edge_redis.cloudstores.sql import SqlCloudStore

    cloud = SqlCloudStore("postgresql+psycopg://user@host/name", namespace="site")
    CloudWorker(edge_client, cloud, namespace="site").run()

Needs the extra ``edge-redis[sql]`` and a driver, such as ``psycopg``.
"""

from edge_redis.errors import MissingExtraError

try:
    import sqlalchemy  # noqa: F401 -- for its error
except ImportError as error:  # pragma: no cover -- the tests install it
    raise MissingExtraError("this store needs SQLAlchemy 2: pip install 'edge-redis[sql]'") from error

from edge_redis.cloudstores._async_sql_store import AsyncSqlCloudStore
from edge_redis.cloudstores._sql_store import SqlCloudStore

__all__ = ["AsyncSqlCloudStore", "SqlCloudStore"]

SqlCloudStore.__module__ = AsyncSqlCloudStore.__module__ = __name__
