"""A database: its engine, its tables, and transactions.

SQLite and PostgreSQL differ in four respects, and all four are here: how a transaction begins, how a row is locked,
which clock is read, and how several processes create tables at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, exc, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import QueuePool, SingletonThreadPool
from sqlalchemy.schema import CreateIndex

from edge_redis._sync import clock
from edge_redis.cloudstores import _error_mapping
from edge_redis.cloudstores._tables import FEED_PARTS, METADATA
from edge_redis.errors import InvalidArgumentError, InvalidTypeError, ServiceClosedError

T = TypeVar("T")

_TRIES: Final = 5
_CREATE_LOCK: Final = 0x6564_6765_7265_6469  # "edgeredi": an arbitrary number for the advisory lock

_LIBPQ: Final = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
"""Keepalive of the engines made here: a network that drops packets is noticed after about 25 seconds, not hours."""

_SQLITE: Final = {"timeout": 30.0}
"""Seconds for which a writer waits for others. SQLite's writers do not queue: at the default of 5, one may starve."""


def _postgresql_options(url: URL) -> dict[str, Any]:
    arguments = {name: value for name, value in _LIBPQ.items() if name not in url.query}
    libpq = url.get_driver_name() in {"psycopg", "psycopg2"}
    return {"pool_pre_ping": True, "connect_args": arguments if libpq else {}}


def _sqlite_options(url: URL) -> dict[str, Any]:
    arguments: dict[str, Any] = {name: value for name, value in _SQLITE.items() if name not in url.query}
    if url.database in (None, "", ":memory:"):
        # One connection for all threads, since each connection has a database of its own; others wait for it.
        arguments["check_same_thread"] = False
        return {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "connect_args": arguments}
    return {"connect_args": arguments}


_OPTIONS: Final[dict[str, Callable[[URL], dict[str, Any]]]] = {
    "postgresql": _postgresql_options,
    "sqlite": _sqlite_options,
}


def _check_dialect(dialect: str) -> str:
    if dialect not in _OPTIONS:
        raise InvalidArgumentError(f"SqlCloudStore keeps its states in PostgreSQL or SQLite, not in {dialect}")
    return dialect


def _make_engine(given: object) -> Engine:
    """Return an engine for a URL, with this package's options."""
    if not isinstance(given, (str, URL)):
        raise InvalidTypeError(f"a URL or a sqlalchemy.Engine is needed, not {type(given).__name__}")
    try:
        url = make_url(given)
        options = _OPTIONS[_check_dialect(url.get_backend_name())](url)
        return create_engine(url, **options)
    except ImportError as error:
        raise InvalidArgumentError(f"the driver that the URL names is not installed: {error}") from error
    except (exc.ArgumentError, ValueError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        # The library's own text may show the URL, and with it a password.
        raise InvalidArgumentError(
            "the database's URL cannot be read; it is such as postgresql+psycopg://user@host/name or sqlite:////a/file"
        ) from None


class Database:
    """An engine, and the transactions on it."""

    def __init__(self, engine_or_url: object, *, notifications: bool = True) -> None:
        self._is_own = not isinstance(engine_or_url, Engine)
        self.engine = engine_or_url if isinstance(engine_or_url, Engine) else _make_engine(engine_or_url)
        self.is_sqlite = _check_dialect(self.engine.dialect.name) == "sqlite"
        if self.is_sqlite and isinstance(self.engine.pool, SingletonThreadPool):
            raise InvalidArgumentError(
                "with this engine every thread has a database in memory of its own: give the URL, or a file"
            )
        self.notifies = notifications and not self.is_sqlite
        """Whether changes are notified."""
        self.can_listen = self.notifies and self.engine.dialect.driver == "psycopg"
        self._pid = os.getpid()
        self.on_fork: Callable[[], None] = lambda: None
        """Called in a forked child, before it uses the database."""
        self._is_ready = False
        self._is_closed = False

    def close(self) -> None:
        """Refuse further transactions, and close an engine that was made here; a given one stays open."""
        if self._is_own and not self._is_closed:
            self.engine.dispose()
        self._is_closed = True

    def read(self, action: str, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a reading transaction, and return its result."""
        return self._run(action, "BEGIN", work)

    def write(self, action: str, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a writing transaction: return its result once it is committed, or roll it back and raise.

        ``work`` may be called again where the database undid it: a deadlock, or tables that were not there.
        """
        return self._run(action, "BEGIN IMMEDIATE", work)

    def _run(self, action: str, begin: str, work: Callable[[Connection], T]) -> T:
        if self._is_closed:
            raise ServiceClosedError("this SqlCloudStore is closed")
        self._after_fork()
        for tries in range(_TRIES):
            try:
                if not self._is_ready:
                    self._transaction("BEGIN IMMEDIATE", self._create_tables)
                    self._is_ready = True
                return self._transaction(begin, work)
            except exc.SQLAlchemyError as error:
                if tries == _TRIES - 1 or not self._is_retryable(error):
                    raise _error_mapping.translate(error, action) from error
        raise AssertionError("the last try returns or raises")

    def _is_retryable(self, error: exc.SQLAlchemyError) -> bool:
        """Return whether to try again: the transaction was rolled back, and a second try may succeed."""
        if not isinstance(error, exc.DBAPIError):
            return False
        if _error_mapping.lacks_tables(error):
            self._is_ready = False
            return True
        if _error_mapping.is_file_replaced(error):
            self.engine.dispose()  # the connections of the pool would stay at the former file for ever
            self._is_ready = False
            return True
        return _error_mapping.sqlstate(error).startswith("40")

    def _after_fork(self) -> None:
        if self._pid != os.getpid():  # a forked child must not use its parent's connections
            self.engine.dispose(close=False)
            self._pid = os.getpid()
            self.on_fork()

    def _transaction(self, begin: str, work: Callable[[Connection], T]) -> T:
        with self.engine.connect() as plain:
            if self.is_sqlite:
                return _on_sqlite(plain.execution_options(isolation_level="AUTOCOMMIT"), begin, work)
            connection = plain.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                return work(connection)

    def _create_tables(self, connection: Connection) -> None:
        if not self.is_sqlite:  # PostgreSQL's IF NOT EXISTS fails when two processes create at once
            connection.execute(select(func.pg_advisory_xact_lock(_CREATE_LOCK)))
        METADATA.create_all(connection)
        connection.execute(CreateIndex(FEED_PARTS, if_not_exists=True))  # of tables that an earlier release made

    def now(self, connection: Connection) -> int:
        """Return the database's time in microseconds since 1970; in SQLite it is this machine's."""
        if self.is_sqlite:
            return time.time_ns() // 1000
        return int(clock.from_datetime(connection.execute(select(func.clock_timestamp())).scalar_one()))

    @property
    def insert(self) -> Any:
        """The dialect's INSERT, which knows ON CONFLICT."""
        return sqlite.insert if self.is_sqlite else postgresql.insert


def _on_sqlite(connection: Connection, begin: str, work: Callable[[Connection], T]) -> T:
    """Perform a transaction with explicit statements: the driver would begin it too late for the lock."""
    connection.execute(text(begin))
    try:
        result = work(connection)
        connection.execute(text("COMMIT"))
    except BaseException:
        try:
            connection.execute(text("ROLLBACK"))
        except exc.DBAPIError:  # closing the connection rolls it back
            connection.invalidate()
        raise
    return result
