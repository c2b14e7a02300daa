"""A server whose clock jumps by an hour: what lives by it, what is ordered by it, and the leases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from conftest import APIS, Maker

from edge_redis import EdgeNode, embedded
from support.deadline import eventually
from support.faulty_program import FaultyProgram
from support.metrics import made
from support.servers import Backend, real_servers

HOUR = 3600
Jump = Callable[[int], None]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Backend, Jump]]:
    if not real_servers() or not FaultyProgram.can_jump:
        pytest.skip("no real server is chosen, or no libfaketime (Debian: apt-get install libfaketime)")
    with (
        FaultyProgram() as program,
        embedded.start(prefer=program.path, appendfsync="no", password="") as running,
        running.client() as client,
    ):

        def jump(seconds: int) -> None:
            program.set_clock(seconds)
            eventually(lambda: abs(client.time()[0] - time.time() - seconds) < HOUR / 2)

        yield Backend("valkey", running.url), jump


@pytest.fixture(params=APIS)
def make(request: pytest.FixtureRequest, server: tuple[Backend, Jump]) -> Iterator[Maker]:
    server[1](0)
    server[0].flush()
    maker = Maker(server[0], request.param)
    yield maker
    maker.close()


@pytest.fixture
def jump(server: tuple[Backend, Jump]) -> Jump:
    return server[1]


def test_after_a_jump_back_nothing_is_lost_or_out_of_order(make: Maker, jump: Jump) -> None:
    edge, cache, metrics = make("EdgeSynchronizer", scope="s"), make("EdgeCache"), make("EdgeMetrics")
    monitor = make("HealthMonitor")
    leader, follower = (make("HealthWatch", interval_seconds=0.05, lease_seconds=0.1) for _ in range(2))
    monitor.register(EdgeNode("n", "n"))
    assert leader.run_once().leader
    before = edge.update_local({"a": 1})
    cache.put("k", 1, ttl=100)
    metrics.record(made("f"))
    metrics.flush()

    jump(-HOUR)
    after = edge.update_local({"a": 2})
    assert (after.version, after.updated_at > before.updated_at) == (2, True)
    assert cache.get("k") == 1
    assert HOUR < cache.ttl("k") <= HOUR + 100  # a time to live is a moment of the server's clock
    assert monitor.check_node("n").healthy
    metrics.record(made("f"))
    metrics.flush()
    assert metrics.total_invocations("f") == 2
    eventually(lambda: follower.run_once().leader)  # the lease of a dead leader does not last an hour longer
    worker = make("CloudWorker", make.cloud())
    eventually(lambda: not worker.run_once() and edge.is_synced)

    jump(0)
    assert cache.ttl("k") <= 100
    assert edge.update_local({"a": 3}).updated_at > after.updated_at


def test_after_a_jump_back_leases_of_the_dead_do_not_last_an_hour_longer(make: Maker, jump: Jump) -> None:
    edge, cache, monitor = make("EdgeSynchronizer", scope="s"), make("EdgeCache"), make("HealthMonitor")
    edge.update_local({"a": 1})
    monitor.register(EdgeNode("n", "n"))
    monitor.set_maintenance("n")
    dead_relay, relay = (make("TransitionRelay", lambda _: None, lease_seconds=0.2) for _ in range(2))
    dead_relay.run_once()
    monitor.end_maintenance("n")
    with make.backend.client() as client:
        client.set("er:{default:cache0}:lease:k", "dead-200", px=200)
        client.xgroup_create("er:{default:sync0}:pending:s", "cloud", "0")
        client.xreadgroup("cloud", "dead", {"er:{default:sync0}:pending:s": ">"})

        jump(-HOUR)
        assert client.pttl("er:{default:cache0}:lease:k") > 1000 * (HOUR - 60)
    assert cache.get_or_compute("k", lambda: 7) == 7
    worker = make("CloudWorker", make.cloud(), claim_idle_seconds=0.2)
    eventually(lambda: not worker.run_once() and edge.is_synced)
    eventually(relay.run_once)


def test_after_a_jump_ahead_what_is_due_has_expired_and_work_goes_on(make: Maker, jump: Jump) -> None:
    edge, cache, monitor = make("EdgeSynchronizer", scope="s"), make("EdgeCache"), make("HealthMonitor")
    watch = make("HealthWatch", interval_seconds=0.05, lease_seconds=0.1)
    monitor.register(EdgeNode("n", "n"))
    cache.put("k", 1, ttl=100)
    before = edge.update_local({"a": 1})
    assert watch.run_once().leader

    jump(HOUR)
    assert cache.get("k") is None
    assert edge.update_local({"a": 2}).updated_at > before.updated_at
    assert watch.run_once().unhealthy == 0  # the observer was blind: nodes have time to report again
    monitor.heartbeat("n")
    assert monitor.check_node("n").healthy
    worker = make("CloudWorker", make.cloud())
    eventually(lambda: not worker.run_once() and edge.is_synced)
