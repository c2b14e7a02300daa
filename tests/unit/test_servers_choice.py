"""The variable EDGE_REDIS_TEST_SERVERS: which real servers the suite runs on."""

import pytest

from support.servers import CHOICE, Servers, any_real_server, real_servers


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("", ("valkey", "redis")),
        ("all", ("valkey", "redis")),
        ("valkey", ("valkey",)),
        ("redis", ("redis",)),
        ("none", ()),
    ],
    ids=["unset", "all", "valkey", "redis", "none"],
)
def test_the_variable_says_which_servers_tests_run_on(
    choice: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHOICE, choice)
    assert real_servers() == expected


def test_a_test_on_another_server_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "valkey")
    with pytest.raises(pytest.skip.Exception, match=f"{CHOICE}=valkey excludes tests on redis"):
        Servers().backend("redis")


def test_a_test_on_any_real_server_is_skipped_where_none_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "none")
    with pytest.raises(pytest.skip.Exception, match=f"{CHOICE}=none excludes tests on valkey"):
        Servers().backend(any_real_server())


def test_fakeredis_is_never_excluded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "redis")
    with Servers().backend("fakeredis").client() as client:
        assert client.ping()


def test_a_misspelt_choice_ends_the_run_before_any_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "postgres")
    with pytest.raises(pytest.UsageError, match=f"{CHOICE} is 'postgres'; it may be one of all, valkey, redis, none"):
        real_servers()
