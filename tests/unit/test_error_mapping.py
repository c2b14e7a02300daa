"""Every error of the client library is translated to an error of this package."""

import sys
from typing import Any

import fakeredis
import pytest
from redis import exceptions as theirs

import edge_redis.aio
from edge_redis import errors
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate

CASES = [
    (theirs.ConnectionError("Connection refused"), errors.StoreUnavailableError),
    (theirs.TimeoutError("Timeout reading from socket"), errors.StoreTimeoutError),
    (TimeoutError("timed out"), errors.StoreTimeoutError),
    (OSError("No route to host"), errors.StoreUnavailableError),
    (theirs.BusyLoadingError("Redis is loading the dataset in memory"), errors.StoreLoadingError),
    (theirs.ReadOnlyError("You can't write against a read only replica."), errors.StoreReadOnlyError),
    (theirs.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), errors.StoreOutOfMemoryError),
    (theirs.AuthenticationError("invalid username-password pair"), errors.StoreRefusedError),
    (theirs.NoPermissionError("this user has no permissions"), errors.StoreRefusedError),
    (theirs.MasterDownError("Link with MASTER is down"), errors.StoreReadOnlyError),
    (theirs.ClusterDownError("CLUSTERDOWN The cluster is down"), errors.StoreLoadingError),
    (theirs.RedisClusterException("Redis Cluster cannot be connected."), errors.StoreUnavailableError),
    (theirs.MaxConnectionsError("Too many connections"), errors.ConnectionPoolFullError),
    (theirs.ConnectionError("Too many connections"), errors.ConnectionPoolFullError),
    (theirs.ConnectionError("No connection available."), errors.ConnectionPoolFullError),
    (theirs.ResponseError("WRONGTYPE Operation against a key"), errors.WrongKeyTypeError),
    (theirs.ResponseError("MISCONF Redis is configured to save"), errors.StoreReadOnlyError),
    (theirs.ResponseError("ACL failure in script: User b has no permissions"), errors.StoreRefusedError),
    (theirs.ResponseError("The user executing the script can't run this command"), errors.StoreRefusedError),
    (theirs.ResponseError("ERR unknown command"), errors.StoreReplyError),
    (theirs.DataError("Invalid input of type"), errors.StoreReplyError),
]


@pytest.mark.parametrize(("error", "expected"), CASES, ids=[f"{type(e).__name__}-{k.__name__}" for e, k in CASES])
def test_each_library_error_is_translated(error: Exception, expected: type[Exception]) -> None:
    assert isinstance(error, LIBRARY_ERRORS)
    translated = translate(error, "doing this")
    assert type(translated) is expected
    assert str(translated) == f"doing this: {error}"


@pytest.mark.parametrize("redirection", [theirs.AskError, theirs.MovedError])
def test_a_redirection_that_nobody_follows_any_more_says_what_it_means(redirection: Any) -> None:
    translated = translate(redirection("5061 127.0.0.1:6380"), "doing this")
    assert type(translated) is errors.StoreLoadingError
    assert str(translated) == "doing this: slot 5061 is being moved: the last node asked names 127.0.0.1:6380"


def test_a_server_without_scripts_is_an_error_that_says_what_to_install() -> None:
    error = theirs.ResponseError("unknown command 'evalsha', with args beginning with: ")
    assert "this server runs no Lua scripts; fakeredis needs pip install 'edge-redis[fake]'" in str(
        translate(error, "put")
    )


@pytest.mark.parametrize(
    ("service", "client"),
    [(edge_redis.EdgeCache, fakeredis.FakeRedis), (edge_redis.aio.EdgeCache, fakeredis.FakeAsyncRedis)],
)
def test_a_service_on_fakeredis_without_lua_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, service: Any, client: Any
) -> None:
    monkeypatch.setitem(sys.modules, "lupa", None)
    with pytest.raises(errors.MissingExtraError, match=r"pip install 'edge-redis\[fake\]'"):
        service(client())
