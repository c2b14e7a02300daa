"""Translates errors of the client library to errors of this package.

| the server or the network                 | error raised            | did the call happen?  |
|-------------------------------------------|-------------------------|-----------------------|
| refused, reset or lost the connection     | StoreUnavailableError   | unknown               |
| sent what is no reply                     | StoreUnavailableError   | unknown               |
| no answer in time                         | StoreTimeoutError       | unknown               |
| no connection of the client's pool free   | ConnectionPoolFullError | no                    |
| READONLY, NOREPLICAS, MASTERDOWN, MISCONF | StoreReadOnlyError      | no                    |
| LOADING, BUSY, TRYAGAIN, CLUSTERDOWN      | StoreLoadingError       | no                    |
| MOVED, ASK at the last attempt            | StoreLoadingError       | no                    |
| ERMOVED (``_core/lua/moved.lua``)         | ShardMovedError         | no                    |
| OOM                                       | StoreOutOfMemoryError   | no                    |
| NOAUTH, WRONGPASS, NOPERM                 | StoreRefusedError       | no                    |
| WRONGTYPE                                 | WrongKeyTypeError       | no                    |
| any other error reply                     | StoreReplyError         | no                    |
"""

from __future__ import annotations

from typing import Final

from redis import exceptions as redis_errors

from edge_redis import errors

CODES: Final[dict[str, type[errors.StoreError]]] = {
    "READONLY": errors.StoreReadOnlyError,
    "NOREPLICAS": errors.StoreReadOnlyError,
    "MASTERDOWN": errors.StoreReadOnlyError,
    "LOADING": errors.StoreLoadingError,
    "BUSY": errors.StoreLoadingError,
    "TRYAGAIN": errors.StoreLoadingError,
    "CLUSTERDOWN": errors.StoreLoadingError,
    "ERMOVED": errors.ShardMovedError,
    "OOM": errors.StoreOutOfMemoryError,
    "MISCONF": errors.StoreReadOnlyError,
    "NOAUTH": errors.StoreRefusedError,
    "WRONGPASS": errors.StoreRefusedError,
    "NOPERM": errors.StoreRefusedError,
    "WRONGTYPE": errors.WrongKeyTypeError,
}
"""The first word of an error reply, and the error that it is translated to."""

# redis-py removes the code from the text of the errors that it has classes for.
_CLASSES: Final[tuple[tuple[type[Exception], type[errors.StoreError]], ...]] = (
    (redis_errors.BusyLoadingError, errors.StoreLoadingError),
    (redis_errors.AuthenticationError, errors.StoreRefusedError),
    (redis_errors.AuthorizationError, errors.StoreRefusedError),
    (redis_errors.NoPermissionError, errors.StoreRefusedError),
    (redis_errors.ReadOnlyError, errors.StoreReadOnlyError),
    (redis_errors.OutOfMemoryError, errors.StoreOutOfMemoryError),
    (redis_errors.MasterDownError, errors.StoreReadOnlyError),  # before ClusterDownError, its base class
    (redis_errors.ClusterDownError, errors.StoreLoadingError),
    (redis_errors.TryAgainError, errors.StoreLoadingError),
    (redis_errors.AskError, errors.StoreLoadingError),  # and MovedError, its subclass
    (redis_errors.TimeoutError, errors.StoreTimeoutError),
    (TimeoutError, errors.StoreTimeoutError),
    (redis_errors.ConnectionError, errors.StoreUnavailableError),
    (redis_errors.InvalidResponse, errors.StoreUnavailableError),
    (redis_errors.RedisClusterException, errors.StoreUnavailableError),
    (OSError, errors.StoreUnavailableError),
)

_REFUSED_IN_A_SCRIPT: Final = ("ACL failure in script", "The user executing the script can't")
"""Texts of a reply with the code ERR that mean: the user may not run a command of the script."""

LIBRARY_ERRORS: Final = (redis_errors.RedisError, redis_errors.RedisClusterException, OSError)
"""The errors that a runner catches and translates. The cluster client's error is not a RedisError."""


def is_pool_full(error: BaseException) -> bool:
    """Return whether the library's error says that a pool has no connection left."""
    return isinstance(error, redis_errors.MaxConnectionsError) or (
        isinstance(error, redis_errors.ConnectionError)
        and str(error).startswith(("Too many connections", "No connection available"))
    )


def pool_full_error(connections: int, seconds: float) -> errors.ConnectionPoolFullError:
    """Return the error of a call that waited for a connection in vain."""
    return errors.ConnectionPoolFullError(
        f"all {connections} connections of the client's pool were in use for {seconds} s;"
        " nothing was sent: raise max_connections, or make fewer calls at once"
    )


def queue_full_error(seconds: float) -> errors.ConnectionPoolFullError:
    """Return the error of a call that waited in vain for its turn on the connection that tasks share."""
    return errors.ConnectionPoolFullError(
        f"this call waited {seconds} s behind others; nothing was sent: make fewer calls at once"
    )


def translate(error: BaseException, action: str) -> errors.StoreError:
    """Return the error of this package for the library's ``error``, which ``action`` raised."""
    text = str(error) or type(error).__name__
    # An error inside a script carries its code first, or after the words "Error running script".
    first = text.split(" ", 1)[0].rstrip(":")
    kind = errors.ConnectionPoolFullError if is_pool_full(error) else CODES.get(first)
    if isinstance(error, redis_errors.ResponseError) and any(part in text for part in _REFUSED_IN_A_SCRIPT):
        kind = errors.StoreRefusedError
    if kind is None:
        kind = next((ours for theirs, ours in _CLASSES if isinstance(error, theirs)), errors.StoreReplyError)
    return kind(f"{action}: {_explain(error, text)}")


def _explain(error: BaseException, text: str) -> str:
    """Return a server's message; of a redirection, or where the server runs no scripts, what it means."""
    if isinstance(error, redis_errors.AskError):  # and MovedError; its text is "<slot> <host>:<port>"
        return f"slot {error.slot_id} is being moved: the last node asked names {error.host}:{error.port}"
    if "unknown command" in text and "evalsha" in text.lower():
        return f"this server runs no Lua scripts; fakeredis needs pip install 'edge-redis[fake]' ({text.rstrip(' :')})"
    return text
