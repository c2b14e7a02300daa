"""Errors of SQLAlchemy and of the database's driver, as errors of this package.

| what the database or the network did              | what is raised            | was it done? |
|---------------------------------------------------|---------------------------|--------------|
| refused, reset or lost the connection, is full    | StoreUnavailableError     | unknown      |
| no lock, no connection or no answer in time       | StoreTimeoutError         | no           |
| a standby, a file without write permission        | StoreReadOnlyError        | no           |
| wrong user or password, no privilege              | StoreRefusedError         | no           |
| a damaged file                                    | CorruptDataError          | no           |
| any other error                                   | StoreReplyError           | no           |

The first three are outages: a CloudWorker waits and tries again, and nothing counts against the change. A
transaction is atomic: "unknown" means that it may or may not have been committed.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import exc

from edge_redis import errors

# SQLSTATE of PostgreSQL: a code of five characters, or the class that its first two are.
_STATES: Final[dict[str, type[errors.StoreError]]] = {
    "08": errors.StoreUnavailableError,  # connection exception
    "25006": errors.StoreReadOnlyError,
    "28": errors.StoreRefusedError,  # invalid authorization
    "3D": errors.StoreRefusedError,  # no such database
    "40": errors.StoreUnavailableError,  # deadlock, serialization: all of it was rolled back
    "42501": errors.StoreRefusedError,  # insufficient privilege
    "53": errors.StoreUnavailableError,  # disk full, out of memory, too many connections
    "55P03": errors.StoreTimeoutError,  # lock_timeout
    "57": errors.StoreUnavailableError,  # shutdown, crash, starting up
    "57014": errors.StoreTimeoutError,  # statement_timeout
    "58": errors.StoreUnavailableError,  # system error, such as a disk failure
    "XX001": errors.CorruptDataError,
    "XX002": errors.CorruptDataError,
}

# Result codes of SQLite, by the first word of their names behind SQLITE_.
_RESULTS: Final[dict[str, type[errors.StoreError]]] = {
    "BUSY": errors.StoreTimeoutError,
    "LOCKED": errors.StoreTimeoutError,
    "CANTOPEN": errors.StoreUnavailableError,
    "FULL": errors.StoreUnavailableError,
    "INTERRUPT": errors.StoreUnavailableError,
    "IOERR": errors.StoreUnavailableError,
    "NOLFS": errors.StoreUnavailableError,
    "NOMEM": errors.StoreUnavailableError,
    "PROTOCOL": errors.StoreUnavailableError,
    "READONLY": errors.StoreReadOnlyError,
    "AUTH": errors.StoreRefusedError,
    "PERM": errors.StoreRefusedError,
    "CORRUPT": errors.CorruptDataError,
    "NOTADB": errors.CorruptDataError,
    "FORMAT": errors.CorruptDataError,
}

UNDEFINED_TABLE: Final = "42P01"
UNIQUE_VIOLATION: Final = "23505"


def sqlstate(error: BaseException) -> str:
    """Return the code that PostgreSQL gave with an error, "" where there is none."""
    original: Any = getattr(error, "orig", None)
    return str(getattr(original, "sqlstate", None) or getattr(original, "pgcode", None) or "")


def lacks_tables(error: exc.DBAPIError) -> bool:
    """Return whether a table is missing: the database is new, or the table was dropped."""
    return sqlstate(error) == UNDEFINED_TABLE or "no such table" in str(error.orig)


def is_file_replaced(error: exc.DBAPIError) -> bool:
    """Return whether SQLite's file was moved or replaced, by a restored one, under its connection."""
    return str(getattr(error.orig, "sqlite_errorname", "")) == "SQLITE_READONLY_DBMOVED"


def translate(error: exc.SQLAlchemyError, action: str) -> errors.StoreError:
    """Return this package's error for SQLAlchemy's ``error``, which ``action`` raised."""
    text = str(getattr(error, "orig", None) or error) or type(error).__name__
    return _kind(error)(f"{action}: {text.strip()}")


def _kind(error: exc.SQLAlchemyError) -> type[errors.StoreError]:
    if isinstance(error, exc.TimeoutError):  # no connection of the pool became free
        return errors.StoreTimeoutError
    if not isinstance(error, exc.DBAPIError):
        return errors.StoreReplyError
    state = sqlstate(error)
    if state:
        return _STATES.get(state) or _STATES.get(state[:2]) or errors.StoreReplyError
    result = str(getattr(error.orig, "sqlite_errorname", ""))
    if result:
        return _RESULTS.get(result.split("_")[1], errors.StoreReplyError)
    lost = error.connection_invalidated or isinstance(error, (exc.OperationalError, exc.InterfaceError))
    return errors.StoreUnavailableError if lost else errors.StoreReplyError
