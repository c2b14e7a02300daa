"""Clients from URLs: what they are set up with, and what is refused without showing a password."""

from __future__ import annotations

import asyncio
import ssl
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.utils
from hypothesis import given
from hypothesis import strategies as st
from redis.backoff import NoBackoff

from edge_redis._io import connect_retry
from edge_redis._io.connect import DEFAULTS, ENVIRONMENT_VARIABLE, connect, connect_async
from edge_redis._io.connect_url import parse
from edge_redis.errors import EdgeRedisError, InvalidArgumentError, InvalidTypeError

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)


@pytest.fixture(params=[connect, connect_async], ids=["blocking", "awaited"])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


def options_of(client: Any) -> Any:
    return client.connection_pool.connection_kwargs


class TestSetUp:
    def test_defaults(self, make: Callable[..., Any]) -> None:
        options = options_of(make())
        assert (options["host"], options["port"], options.get("db", 0)) == ("localhost", 6379, 0)
        assert DEFAULTS.items() <= options.items()
        assert (options["socket_timeout"], options["socket_connect_timeout"]) == (5.0, 5.0)
        assert options["health_check_interval"] == 30
        assert options["client_name"] == "edge-redis"
        assert options["retry"]._retries == connect_retry.RETRIES

    @pytest.mark.parametrize("url", ["redis://h", "rediss://h", "unix:///s", "redis+sentinel://h/service"])
    def test_the_library_s_version_is_not_looked_up_for_each_connection(
        self, make: Callable[..., Any], url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make(url)

        def fail() -> str:
            raise AssertionError("looked up again")

        monkeypatch.setattr(redis.utils, "get_lib_version", fail)
        pool = make(url).connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        if hasattr(redis, "DriverInfo"):
            assert connection.driver_info.lib_version == redis.__version__

    @pytest.mark.filterwarnings("ignore:Call to '__init__':DeprecationWarning")  # of recent releases of redis-py
    def test_a_library_named_by_the_caller_stays(self, make: Callable[..., Any]) -> None:
        assert "driver_info" not in options_of(make("redis://h?lib_name=mine"))
        assert options_of(make("redis://h", lib_name="mine"))["lib_name"] == "mine"

    def test_is_of_the_right_half(self) -> None:
        assert isinstance(connect(), redis.Redis)
        assert isinstance(connect_async(), redis.asyncio.Redis)

    def test_the_variable(self, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, "redis://elsewhere:7000/2")
        options = options_of(make())
        assert (options["host"], options["port"], options["db"]) == ("elsewhere", 7000, 2)
        assert options_of(make("redis://here"))["host"] == "here"
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, "")
        assert options_of(make())["host"] == "localhost"
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, "mysql://x")
        with pytest.raises(InvalidArgumentError, match=ENVIRONMENT_VARIABLE):
            make()

    def test_the_url_wins_over_defaults_and_arguments_over_the_url(self, make: Callable[..., Any]) -> None:
        url = "redis://h:1/3?socket_timeout=1.5&client_name=mine&health_check_interval=7&db=4"
        options = options_of(make(url, client_name="yours", port=2))
        assert options["socket_timeout"] == 1.5
        assert options["health_check_interval"] == 7
        assert (options["client_name"], options["port"], options["db"]) == ("yours", 2, 4)

    def test_credentials_are_decoded(self, make: Callable[..., Any]) -> None:
        options = options_of(make("redis://us%40er:p%2F%3A%40ss@h"))
        assert (options["username"], options["password"]) == ("us@er", "p/:@ss")
        options = options_of(make(f"redis://:{SECRET}@h"))
        assert (options.get("username"), options["password"]) == (None, SECRET)

    def test_tls(self, make: Callable[..., Any]) -> None:
        pool = make("rediss://h?ssl_check_hostname=no").connection_pool
        assert "SSL" in pool.connection_class.__name__
        assert pool.connection_kwargs["ssl_check_hostname"] is False

    def test_unix(self, make: Callable[..., Any]) -> None:
        pool = make(f"unix://:{SECRET}@/run/a%20b.sock?db=3").connection_pool
        assert "Unix" in pool.connection_class.__name__
        assert pool.connection_kwargs["path"] == "/run/a b.sock"
        assert pool.connection_kwargs["password"] == SECRET
        assert pool.connection_kwargs["db"] == 3
        assert "socket_keepalive" not in pool.connection_kwargs

    def test_sentinel(self, make: Callable[..., Any]) -> None:
        url = f"redis+sentinel://u:{SECRET}@a:1,b,[::1]:3/my%2Fservice/5?sentinel_password=other&socket_timeout=2"
        pool = make(url).connection_pool
        assert pool.service_name == "my/service"
        assert pool.is_master
        assert (pool.connection_kwargs["db"], pool.connection_kwargs["password"]) == (5, SECRET)
        sentinels = [options_of(sentinel) for sentinel in pool.sentinel_manager.sentinels]
        assert [(each["host"], each["port"]) for each in sentinels] == [("a", 1), ("b", 26379), ("::1", 3)]
        assert {each["password"] for each in sentinels} == {"other"}
        assert {each.get("username") for each in sentinels} == {None}
        assert {each["socket_timeout"] for each in sentinels} == {2.0}
        assert {each["retry"]._retries for each in sentinels} == {0}

    def test_sentinel_with_tls(self, make: Callable[..., Any]) -> None:
        pool = make("rediss+sentinel://a/service").connection_pool
        assert "SSL" in pool.connection_class.__name__
        assert "SSL" in pool.sentinel_manager.sentinels[0].connection_pool.connection_class.__name__

    def test_awaited_cluster(self) -> None:
        client = connect_async("rediss+cluster://:pw@a:1,b/0", require_full_coverage=False)
        assert isinstance(client, redis.asyncio.RedisCluster)
        assert [(node.host, node.port) for node in client.nodes_manager.startup_nodes.values()] == [
            ("a", 1),
            ("b", 6379),
        ]
        assert client.connection_kwargs["password"] == "pw"
        assert "SSL" in client.connection_kwargs["connection_class"].__name__

    def test_an_ipv6_host(self, make: Callable[..., Any]) -> None:
        assert options_of(make("redis://[::1]:7/1"))["host"] == "::1"


REFUSED = [
    ("", "begin with"),
    (SECRET, "begin with"),
    (f"redis:{SECRET}", "begin with"),
    (f"redis:/:{SECRET}@h", "begin with"),
    (f"http://:{SECRET}@h", "redis\\+sentinel://"),
    (f"redis://:{SECRET}/x@h:6379", "percent-encode"),
    (f"redis://:a/{SECRET}@h:6379", "percent-encode"),
    (f"redis://:1/{SECRET}@h:6379", "percent-encode"),
    (f"redis://:a?{SECRET}@h:6379", "percent-encode"),
    (f"redis://:1?{SECRET}@h:6379", "percent-encode"),
    (f"redis://:a#{SECRET}@h:6379", "percent-encode"),
    (f"redis://:1#{SECRET}@h:6379", "percent-encode"),
    (f"redis://:a@{SECRET}@h:6379", "percent-encode"),
    (f"redis://:a[{SECRET}@h:6379", "percent-encode"),
    (f"redis://:a {SECRET}@h:6379", "percent-encode"),
    (f"redis://:{SECRET}\n@h:6379", "percent-encode"),
    (f"redis://:{SECRET}@h:x", "host"),
    (f"redis://:{SECRET}@h:0", "port"),
    (f"redis://:{SECRET}@h:65536", "port"),
    (f"redis://:{SECRET}@[::1", "host"),
    (f"redis://:{SECRET}@a,b", "several"),
    (f"redis://:{SECRET}@h/one", "database"),
    (f"redis://:{SECRET}@h/-1", "database"),
    (f"redis://:{SECRET}@h?db=one", "db"),
    (f"redis://:{SECRET}@h?socket_timeout={SECRET}", "socket_timeout"),
    (f"redis://:{SECRET}@h?host=x", "host"),
    (f"redis://:{SECRET}@h?protocol=9", "protocol"),
    (f"redis://:{SECRET}@h?no_such_option=1", "no_such_option"),
    (f"redis://:{SECRET}@h?decode_responses=True", "decode_responses"),
    (f"redis://:{SECRET}@h?decode_responses=yes", "decode_responses"),
    (f"unix://:{SECRET}@h/socket", "three slashes"),
    (f"unix://{SECRET}", "three slashes"),
    (f"redis+cluster://:{SECRET}@", "needs a host"),
    (f"redis+cluster://:{SECRET}@h/1", "database 0"),
    (f"redis+cluster://:{SECRET}@h?no_such_option=1", "no_such_option"),
    (f"redis+sentinel://:{SECRET}@h", "service"),
    (f"redis+sentinel://:{SECRET}@h/s/x", "service"),
    (f"redis+sentinel://:{SECRET}@h/s?no_such_option=1", "no_such_option"),
]


class TestRefusals:
    @pytest.mark.parametrize(("url", "says"), REFUSED)
    def test_says_what_is_wrong_and_not_the_password(self, make: Callable[..., Any], url: Any, says: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=says) as caught:
            make(url)
        assert SECRET not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize("url", [b"redis://h", 6379, SECRET.encode()])
    def test_what_is_no_str(self, make: Callable[..., Any], url: Any) -> None:
        with pytest.raises(InvalidTypeError, match="url must be a str") as caught:
            make(url)
        assert SECRET not in str(caught.value)

    def test_arguments(self, make: Callable[..., Any]) -> None:
        with pytest.raises(InvalidArgumentError, match="decode_responses"):
            make("redis://h", decode_responses=True)
        with pytest.raises(InvalidArgumentError, match="no_such_option"):
            make("redis://h", no_such_option=True)
        assert make("redis://h?decode_responses=no", decode_responses=False)

    @given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["redis", "redis+sentinel", "unix", "x"]))
    def test_any_text_makes_a_target_or_an_error_of_ours(self, before: Any, after: Any, scheme: Any) -> None:
        for url in (f"{scheme}://{before}@{after}", before + after):
            try:
                parse(url)
            except EdgeRedisError as error:
                # No part longer than a few characters is quoted: it may be a password. Messages list the schemes.
                parts = (part for part in (before, after) if len(part) > 5 and not part.startswith("redis"))
                assert not any(part in str(error) for part in parts)  # noqa: PT017


class Failing:
    """Fails like a lost connection, however often it is called, and takes a while."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls = 0
        self.seconds = seconds

    def __call__(self) -> None:
        self.calls += 1
        time.sleep(self.seconds)
        raise redis.ConnectionError


class TestRetries:
    @pytest.fixture(autouse=True)
    def new_call(self) -> None:
        connect_retry.begin_call()

    def test_have_a_new_budget_in_each_call_although_the_end_of_the_last_was_interrupted(self) -> None:
        connect_retry._end.set(0.0)
        connect_retry.begin_call()
        failing = Failing()
        with pytest.raises(redis.ConnectionError):
            connect_retry.BudgetedRetry(NoBackoff(), 2).call_with_retry(failing, lambda _: None)
        assert failing.calls == 3

    def test_are_a_few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connect_retry, "_backoff", NoBackoff)
        failing = Failing()
        with pytest.raises(redis.ConnectionError):
            connect_retry.make_retry().call_with_retry(failing, lambda _: None)
        assert failing.calls == connect_retry.RETRIES + 1

    def test_end_with_a_certificate_that_is_not_valid(self) -> None:
        failing = Failing()

        def connect() -> None:
            try:
                raise ssl.SSLCertVerificationError
            except OSError:
                failing()

        with pytest.raises(redis.ConnectionError):
            connect_retry.make_retry().call_with_retry(connect, lambda _: None)
        assert failing.calls == 1

    def test_share_one_budget_however_they_nest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connect_retry, "_backoff", NoBackoff)
        monkeypatch.setattr(connect_retry, "BUDGET_SECONDS", 0.05)
        retry, failing = connect_retry.make_retry(), Failing(0.02)
        with pytest.raises(redis.ConnectionError):
            retry.call_with_retry(lambda: retry.call_with_retry(failing, lambda _: None), lambda _: None)
        assert failing.calls == 3
        failing.calls = 0
        with pytest.raises(redis.ConnectionError):
            retry.call_with_retry(failing, lambda _: None)
        assert failing.calls == 3

    async def _awaited(self) -> int:
        retry, failing = connect_retry.make_async_retry(), Failing(0.02)

        async def fail() -> None:
            failing()

        async def note(_: Exception) -> None:
            return None

        with pytest.raises(redis.ConnectionError):
            await retry.call_with_retry(lambda: retry.call_with_retry(fail, note), note)
        return failing.calls

    def test_share_one_budget_when_awaited(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connect_retry, "_backoff", NoBackoff)
        monkeypatch.setattr(connect_retry, "BUDGET_SECONDS", 0.05)
        assert asyncio.run(self._awaited()) == 3
