"""EdgeCache with on_error="miss": what it does while its server is gone, refuses writes, or has come back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from conftest import Maker
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from edge_redis import InvalidArgumentError, InvalidTypeError, StoreReadOnlyError, StoreUnavailableError, embedded
from edge_redis._cache import circuit as circuits
from edge_redis._cache import invalidation_protocol
from edge_redis._cache import pending as pendings
from edge_redis._cache.circuit import FAILURE_THRESHOLD, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, CircuitBreaker
from edge_redis._cache.pending import PendingInvalidations
from support.cache import value_key
from support.clock import ServerClock
from support.deadline import eventually
from support.near import (
    as_in_another_process,
    component_of,
    eventually_received,
    is_held,
    let_it_listen,
    listening,
    near_of,
    read_until_held,
)
from support.servers import Backend

CONFIG = {"hz": "100"}


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Any:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Any:
    return CircuitBreaker(clock)


class TestCircuit:
    def test_is_closed_until_enough_have_failed_in_a_row(self, circuit: Any) -> None:
        for _ in range(FAILURE_THRESHOLD - 1):
            circuit.record_failure()
        circuit.record_success()
        for _ in range(FAILURE_THRESHOLD - 1):
            assert circuit.allow_call()
            circuit.record_failure()
        assert not circuit.is_open
        circuit.record_failure()
        assert circuit.is_open
        assert not circuit.allow_call()

    def test_admits_one_a_pause_that_grows(self, circuit: Any, clock: ServerClock) -> None:
        for _ in range(FAILURE_THRESHOLD):
            circuit.record_failure()
        pause = FIRST_PAUSE_SECONDS
        for _ in range(10):
            clock.now += pause - 0.001
            assert not circuit.allow_call()
            clock.now += 0.001
            assert circuit.allow_call()
            assert not circuit.allow_call()
            circuit.record_failure()
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        assert pause == MAX_PAUSE_SECONDS

    def test_one_success_closes_it_and_the_next_pause_is_short_again(self, circuit: Any, clock: ServerClock) -> None:
        for _ in range(2):
            for _ in range(FAILURE_THRESHOLD):
                circuit.record_failure()
            clock.now += FIRST_PAUSE_SECONDS
            assert circuit.allow_call()
            circuit.record_success()
            assert not circuit.is_open
            assert circuit.allow_call()
            assert circuit.allow_call()

    def test_many_that_fail_at_once_are_one_failed_try(self, circuit: Any, clock: ServerClock) -> None:
        for _ in range(100):
            assert circuit.allow_call()
        for _ in range(100):
            circuit.record_failure()
        clock.now += FIRST_PAUSE_SECONDS
        assert circuit.allow_call()


def test_a_hung_server_opens_the_circuit_at_once(circuit: Any, clock: Clock) -> None:
    circuit.record_listener_failure(is_hung=True)
    assert circuit.is_open
    assert not circuit.allow_call()
    circuit.record_listener_failure(is_hung=True)  # no longer pause: no trial call failed
    clock.now += FIRST_PAUSE_SECONDS
    assert circuit.allow_call()


def test_connections_that_the_listener_loses_count_as_failures(circuit: Any) -> None:
    for _ in range(FAILURE_THRESHOLD - 1):
        circuit.record_listener_failure(is_hung=False)
    assert circuit.allow_call()
    circuit.record_listener_failure(is_hung=False)
    assert not circuit.allow_call()


class TestPendingInvalidations:
    @pytest.fixture
    def pending(self, clock: Clock) -> Any:
        return PendingInvalidations(clock)

    def test_a_key_that_is_added_again_outlives_the_first_removal(self, pending: Any) -> None:
        pending.add(["a", "b"])
        first = pending.snapshot()
        pending.add(["a"])
        pending.clear(first)
        assert list(pending.snapshot()) == ["a"]
        pending.clear(pending.snapshot())
        assert len(pending) == 0

    def test_a_key_that_is_pending_already_needs_no_capacity(
        self, pending: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pendings, "MAX_PENDING", 2)
        pending.add(["a", "b"])
        assert pending.has_capacity_for(["a", "b"])
        assert not pending.has_capacity_for(["a", "c"])

    def test_removal_is_paused_for_a_while_after_a_refusal(self, pending: Any, clock: ServerClock) -> None:
        assert not pending.is_suspended
        pending.suspend()
        assert pending.is_suspended
        clock.now += pendings.SUSPEND_SECONDS
        assert not pending.is_suspended


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.EmbeddedServer]:
    with embedded.start(config=CONFIG) as running:
        yield running


class Site(Maker):
    """Makes caches whose clients try nothing twice, on a server that can be stopped."""

    def __init__(self, server: embedded.EmbeddedServer, api: str) -> None:
        super().__init__(Backend("own", server.url), api)
        self.server = server

    def client(self, **kwargs: Any) -> Any:
        retry = AsyncRetry(NoBackoff(), 0) if self.api == "awaited" else Retry(NoBackoff(), 0)
        return super().client(retry=retry, socket_timeout=5.0, **kwargs)

    def cache(self, *args: Any, **kwargs: Any) -> Any:
        return self("EdgeCache", *args, on_error="miss", **kwargs)

    def facts(self, cache: Any) -> dict[str, Any]:
        """The statistics of this process alone, which need no server."""
        return component_of(cache).local_stats()

    def raw(self) -> redis.Redis:
        return self.backend.client()


@pytest.fixture(params=["blocking", "awaited"])
def site(request: pytest.FixtureRequest, server: embedded.EmbeddedServer) -> Iterator[Site]:
    with server.client() as client:
        client.flushall()
    made = Site(server, request.param)
    yield made
    if not server.running:
        server.restart()
    with server.client() as client:
        client.config_set("maxmemory", 0)
        client.replicaof("NO", "ONE")
    made.close()


class Compute:
    """A function that counts its calls; awaited where the API is."""

    def __init__(self, site: Site, result: Any) -> None:
        self.calls = 0
        self._result = result
        self._awaited = site.api == "awaited"

    def __call__(self) -> Any:
        return self._later() if self._awaited else self._now()

    async def _later(self) -> Any:
        await asyncio.sleep(0)
        return self._now()

    def _now(self) -> Any:
        self.calls += 1
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


ANSWERS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "get": (lambda cache: cache.get("k", "default"), "default"),
    "get_many": (lambda cache: cache.get_many(["k", "l"]), {}),
    "contains": (lambda cache: "k" in cache, False),
    "entry": (lambda cache: cache.entry("k"), None),
    "touch": (lambda cache: cache.touch("k"), False),
    "put": (lambda cache: cache.put("k", "new"), None),
    "put_many": (lambda cache: cache.put_many({"k": "new", "l": 1}), None),
    "delete": (lambda cache: cache.delete("k"), False),
    "delete_many": (lambda cache: cache.delete_many(["k", "l"]), 0),
}
WRITES = ["put", "put_many", "delete", "delete_many"]

RAISING: dict[str, Callable[[Any], Any]] = {
    "stats": lambda cache: cache.stats(),
    "size": lambda cache: cache.size,
    "hit_rate": lambda cache: cache.hit_rate,
    "clear": lambda cache: cache.clear(),
    "invalidate_tag": lambda cache: cache.invalidate_tag("t"),
    "purge_expired": lambda cache: cache.purge_expired(),
}


class TestGone:
    @pytest.mark.parametrize("flush_every", [1, 1024])
    def test_reads_miss_and_writes_are_dropped(self, site: Any, flush_every: Any) -> None:
        cache = site.cache(flush_every=flush_every)
        cache.put("k", "old")
        site.server.kill()
        for number, (call, expected) in enumerate(ANSWERS.values()):
            assert call(cache) == expected
            assert site.facts(cache)["fallbacks"] == number + 1
        assert site.facts(cache)["circuit"] == "open"
        assert site.facts(cache)["pending_invalidations"] == 2

    def test_what_speaks_of_counts_raises(self, site: Any) -> None:
        cache = site.cache()
        cache.put("k", 1)
        site.server.kill()
        for call in RAISING.values():
            with pytest.raises(StoreUnavailableError):
                call(cache)

    def test_all_raise_where_that_is_asked_for(self, site: Any) -> None:
        cache = site("EdgeCache")
        cache.put("k", 1)
        site.server.kill()
        for call in [*(call for call, _ in ANSWERS.values()), *RAISING.values()]:
            with pytest.raises(StoreUnavailableError):
                call(cache)
        with pytest.raises(StoreUnavailableError):
            cache.get_or_compute("k", Compute(site, 1))
        assert "circuit" not in site.facts(cache)

    def test_bad_arguments_raise_all_the_same(self, site: Any) -> None:
        cache = site.cache()
        site.server.kill()
        with pytest.raises(InvalidArgumentError):
            cache.get("")
        with pytest.raises(InvalidArgumentError):
            cache.put("k", 1, ttl=0)
        with pytest.raises(InvalidTypeError):
            cache.put("k", object())
        assert site.facts(cache)["pending_invalidations"] == 0

    @pytest.mark.parametrize("stale_ttl", [None, 5])
    def test_functions_compute_once_each_time(self, site: Any, stale_ttl: Any) -> None:
        cache, compute = site.cache(), Compute(site, [1])
        cache.contains("k")
        site.server.kill()
        for times in range(1, 6):
            assert cache.get_or_compute("k", compute, stale_ttl=stale_ttl) == [1]
            assert compute.calls == times

    def test_a_store_that_goes_while_one_computes(self, site: Any) -> None:
        cache = site.cache()
        calls = []

        def compute() -> int:
            calls.append(1)
            site.server.kill()
            return 5

        assert cache.get_or_compute("k", compute) == 5
        assert calls == [1]

    @pytest.mark.parametrize("is_gone", [False, True])
    def test_an_error_of_the_function_is_its_own(self, site: Any, is_gone: Any) -> None:
        """Though it says that a store is gone: another store."""
        cache, compute = site.cache(), Compute(site, StoreUnavailableError("another"))
        cache.contains("k")
        if is_gone:
            site.server.kill()
        with pytest.raises(StoreUnavailableError, match="another"):
            cache.get_or_compute("k", compute)
        assert compute.calls == 1
        if not is_gone:
            assert site.facts(cache)["fallbacks"] == 0

    def test_an_error_of_the_function_keeps_its_cause(self, site: Any) -> None:
        cache, error = site.cache(), KeyError("outer")
        error.__cause__ = ValueError("inner")
        with pytest.raises(KeyError) as caught:
            cache.get_or_compute("k", Compute(site, error))
        assert isinstance(caught.value.__cause__, ValueError)

    @pytest.mark.parametrize("near_cache", [False, True])
    def test_closing_raises_nothing(self, site: Any, near_cache: Any) -> None:
        cache = site.cache(near_cache=near_cache)
        cache.put("k", 1)
        cache.get("k")
        cache.get("missing")
        site.server.kill()
        cache.close()

    def test_closing_warns_of_pending_invalidations(self, site: Any, caplog: pytest.LogCaptureFixture) -> None:
        cache = site.cache()
        cache.put("k", "old")
        site.server.kill()
        cache.put("k", "new")
        cache.close()
        assert "lost at close: 1 pending invalidations of namespace 'default'" in caplog.text

    def test_pending_invalidations_are_bounded(self, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pendings, "MAX_PENDING", 3)
        cache = site.cache()
        site.server.kill()
        cache.put_many({"a": 1, "b": 2, "c": 3})
        cache.put("a", 2)
        with pytest.raises(StoreUnavailableError, match="pending"):
            cache.put("d", 1)
        assert cache.get("d") is None


def never(value: object) -> None:
    assert value is None


def until_closed(site: Site, cache: Any, check: Callable[[], None]) -> None:
    """Wait until the circuit is closed again; ``check`` must hold all the while."""

    def tried() -> bool:
        check()
        cache.contains("any")
        let_it_listen(cache)
        return bool(site.facts(cache)["circuit"] == "closed")

    eventually(tried, seconds=20)
    check()


class TestBack:
    @pytest.mark.parametrize("name", WRITES)
    @pytest.mark.parametrize("near_cache", [False, True])
    def test_what_was_overwritten_is_never_read_again(
        self, site: Any, name: Any, near_cache: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(circuits, "FIRST_PAUSE_SECONDS", 0.05)
        cache = site.cache(near_cache=near_cache, flush_interval=3600)
        cache.put_many({"k": "old", "l": "old", "other": "stays"})
        site.server.kill()
        ANSWERS[name][0](cache)
        for _ in range(FAILURE_THRESHOLD):
            never(cache.get("k"))
        assert site.facts(cache)["circuit"] == "open"
        site.server.restart()
        with site.raw() as client:
            assert client.exists(value_key("k"))  # the server has kept what it had
            until_closed(site, cache, lambda: never(cache.get("k")))
            assert cache.get("other") == "stays"
            assert not client.exists(value_key("k"))
        assert site.facts(cache)["pending_invalidations"] == 0
        cache.put("k", "newest")
        assert cache.get("k") == "newest"

    def test_before_any_other_key_is_read(self, site: Any) -> None:
        cache = site.cache(flush_interval=3600)
        cache.put_many({"k": "old", "other": "stays"})
        site.server.kill()
        cache.put("k", "new")
        site.server.restart()
        assert cache.get("other") == "stays"  # one failure: the circuit is still closed
        with site.raw() as client:
            assert not client.exists(value_key("k"))

    def test_is_paid_in_the_background_as_well(self, site: Any) -> None:
        cache = site.cache(flush_interval=0.05)
        cache.put("k", "old")
        site.server.kill()
        cache.put("k", "new")
        site.server.restart()
        with site.raw() as client:
            eventually_received(cache, lambda: not client.exists(value_key("k")))
        eventually_received(cache, lambda: site.facts(cache)["pending_invalidations"] == 0)

    def test_when_the_cache_is_closed_also_where_the_circuit_is_open(
        self, site: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache = site.cache(flush_interval=3600)
        cache.put("k", "old")
        site.server.kill()
        for _ in range(FAILURE_THRESHOLD):
            cache.put("k", "new")
        assert site.facts(cache)["circuit"] == "open"
        site.server.restart()
        cache.close()
        with site.raw() as client:
            assert not client.exists(value_key("k"))
        assert "lost" not in caplog.text

    def test_a_put_after_the_return_is_not_undone(self, site: Any) -> None:
        cache = site.cache(flush_interval=3600)
        site.server.kill()
        cache.put("k", "lost")
        site.server.restart()
        cache.put("k", "kept")
        assert cache.get("k") == "kept"
        assert cache.get("k") == "kept"

    def test_get_or_compute_does_not_find_an_entry_with_a_pending_invalidation(self, site: Any) -> None:
        cache, compute = site.cache(flush_interval=3600), Compute(site, "computed")
        cache.put("k", "old")
        site.server.kill()
        cache.delete("k")
        site.server.restart()
        assert cache.get_or_compute("k", compute) == "computed"
        assert cache.get("k") == "computed"
        assert compute.calls == 1

    def test_counts_go_on(self, site: Any) -> None:
        cache = site.cache(flush_interval=3600)
        cache.put("k", 1)
        cache.get("k")
        site.server.kill()
        cache.get("k")
        site.server.restart()
        until_closed(site, cache, lambda: None)
        assert cache.stats()["hits"] == 1


class TestWritesRefused:
    @pytest.fixture(params=["read-only", "out of memory"])
    def refuse(self, request: pytest.FixtureRequest, site: Any) -> Iterator[Any]:
        def turn(*, on: bool) -> None:
            with site.raw() as client:
                if request.param == "out of memory":
                    client.config_set("maxmemory", 1 if on else 0)
                elif on:
                    client.replicaof("127.0.0.1", 1)
                else:
                    client.replicaof("NO", "ONE")

        yield turn
        turn(on=False)

    @pytest.mark.parametrize("near_cache", [False, True])
    def test_reads_go_on_and_what_was_overwritten_is_a_miss(self, site: Any, refuse: Any, near_cache: Any) -> None:
        cache = site.cache(near_cache=near_cache, flush_interval=3600)
        cache.put_many({"k": "old", "other": "stays"})
        refuse(on=True)
        for number in range(2 * FAILURE_THRESHOLD):
            cache.put("k", number)
            assert cache.get("k") is None
            assert cache.get("other") == "stays"
            assert cache.get_many(["other"]) == {"other": "stays"}
            assert cache.get_many(["k", "other"]).get("k") is None
        assert site.facts(cache)["circuit"] == "closed"
        refuse(on=False)
        assert cache.get("k") is None
        cache.put("k", "new")
        assert cache.get("k") == "new"
        assert site.facts(cache)["pending_invalidations"] == 0

    def test_functions_compute(self, site: Any, refuse: Any) -> None:
        cache, compute = site.cache(flush_interval=3600), Compute(site, 5)
        cache.contains("k")
        refuse(on=True)
        assert cache.get_or_compute("k", compute) == 5
        assert compute.calls == 1
        assert site.facts(cache)["circuit"] == "closed"

    def test_closing_raises_nothing(self, site: Any, refuse: Any) -> None:
        cache = site.cache(near_cache=True)
        cache.put("k", 1)
        cache.get("k")
        refuse(on=True)
        cache.get("missing")
        cache.put("k", 2)
        cache.close()

    def test_one_that_would_rather_raise(self, site: Any) -> None:
        cache = site("EdgeCache")
        with site.raw() as client:
            client.replicaof("127.0.0.1", 1)
            with pytest.raises(StoreReadOnlyError):
                cache.put("k", 1)
            client.replicaof("NO", "ONE")


class TestLastKnown:
    @pytest.fixture
    def cache(self, site: Any) -> Any:
        cache = listening(site.cache(near_cache={"ttl": 600}, flush_interval=3600))
        cache.put_many({"k": ["old"], "l": "old", "never read": 1})
        read_until_held(cache, "k", "l")
        return cache

    def test_answers_while_the_store_is_gone(self, site: Any, cache: Any) -> None:
        site.server.kill()
        for _ in range(2 * FAILURE_THRESHOLD):
            assert cache.get("k") == ["old"]
            cache.get("k").append("spoilt")
            assert cache.get_many(["k", "l", "never read"]) == {"k": ["old"], "l": "old"}
            assert cache.get_or_compute("k", pytest.fail) == ["old"]
            assert "k" in cache
            assert cache.get("never read") is None
            let_it_listen(cache)
        assert site.facts(cache)["near_listening"] is False

    def test_not_what_was_overwritten_meanwhile(self, site: Any, cache: Any) -> None:
        site.server.kill()
        eventually_received(cache, lambda: not site.facts(cache)["near_listening"])
        assert cache.get("k") == ["old"]
        cache.put("k", ["new"])
        assert cache.get("k") is None
        cache.delete("l")
        assert cache.get_many(["k", "l"]) == {}

    def test_nor_once_its_time_is_up(self, site: Any, cache: Any) -> None:
        cache.put("short", 1, ttl=0.5)
        eventually_received(cache, lambda: cache.get("short") is None or is_held(cache, "short"))
        site.server.kill()
        eventually_received(cache, lambda: cache.get("short") is None)
        assert cache.get("k") == ["old"]

    def test_coherent_again_when_the_store_is_back(self, site: Any, cache: Any) -> None:
        site.server.kill()
        assert cache.get("k") == ["old"]
        site.server.restart()
        with site.raw() as client:
            other = Maker(site.backend, "blocking")
            writer = as_in_another_process(other("EdgeCache", client=client))
            writer.put("k", ["newer"])
            eventually_received(cache, lambda: cache.get("k") == ["newer"])
            eventually_received(cache, lambda: site.facts(cache)["near_listening"])
            read_until_held(cache, "k")
            writer.put("k", ["newest"])
            eventually_received(cache, lambda: cache.get("k") == ["newest"])
            other.close()

    def test_one_that_would_rather_raise_raises(self, site: Any) -> None:
        cache = listening(site("EdgeCache", near_cache=True))
        cache.put("k", 1)
        read_until_held(cache, "k")
        site.server.kill()
        eventually_received(cache, lambda: not site.facts(cache)["near_listening"])
        with pytest.raises(StoreUnavailableError):
            cache.get("k")


@pytest.mark.parametrize("given", ["ignore", "", None, 5])
def test_other_ways_are_refused(given: Any) -> None:
    maker = Maker(Backend("fakeredis"), "blocking")
    with pytest.raises((InvalidArgumentError, InvalidTypeError), match="on_error"):
        maker("EdgeCache", on_error=given)
    maker.close()


class TestHung:
    """A server that accepts connections and answers nothing, as on a machine that is stuck."""

    @pytest.fixture(autouse=True)
    def _quick_pings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(invalidation_protocol, "PING_SECONDS", 0.1)

    def test_values_of_the_near_cache_are_answered_without_waiting(self, site: Any) -> None:
        cache = listening(site.cache(near_cache={"ttl": 300}))
        cache.put("k", "kept")
        read_until_held(cache, "k")
        os.kill(site.server.pid, signal.SIGSTOP)
        try:
            eventually_received(cache, lambda: site.facts(cache)["circuit"] == "open", seconds=3)
            begun = time.monotonic()
            assert [cache.get("k") for _ in range(20)] == ["kept"] * 20
            assert time.monotonic() - begun < 1.0
            assert site.facts(cache)["fallbacks"] == 20
        finally:
            os.kill(site.server.pid, signal.SIGCONT)
        eventually_received(cache, lambda: site.facts(cache)["circuit"] == "closed")
        assert cache.get("k") == "kept"

    def test_a_connection_that_is_lost_alone_opens_nothing(self, site: Any) -> None:
        cache = listening(site.cache(near_cache=True))
        cache.put("k", 1)
        with site.raw() as raw:
            raw.client_kill_filter(_type="pubsub")
        eventually_received(cache, lambda: not near_of(cache).is_listening)
        listening(cache)
        assert site.facts(cache)["circuit"] == "closed"
        assert cache.get("k") == 1
