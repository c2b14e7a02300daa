"""What a person does to a demo site: the flag that ends it, the cloud link, and the keys' actions."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fakeredis
import pytest

from edge_redis import RedisCloudStore, StoreUnavailableError, connect
from edge_redis._site.cloud_link import CloudLink, can_relay
from edge_redis._site.controls import SiteControls
from edge_redis._site.process_plan import ProcessPlan, Role
from edge_redis._site.replay import Pace
from edge_redis._site.stop_request import StopFlag
from edge_redis._site.supervisor import Child
from edge_redis.errors import StoreError
from support.checked import present
from support.deadline import eventually
from support.servers import Backend


def test_a_flag_ends_waits_and_counts_requests() -> None:
    stop = StopFlag()
    assert stop.wait(0.0) is True
    threading.Timer(0.05, stop.request, (signal.SIGTERM,)).start()
    begun = time.monotonic()
    assert stop.wait(30.0) is False
    assert (stop.is_requested, stop.signal_count, stop.first_signal) == (True, 1, signal.SIGTERM)
    threading.Timer(0.05, stop.request, (signal.SIGINT,)).start()
    stop.pause(30.0)
    assert time.monotonic() - begun < 10
    assert (stop.signal_count, stop.first_signal) == (2, signal.SIGTERM)


@pytest.mark.parametrize(
    ("url", "can"),
    [("redis://h:1/0", True), ("rediss://h:1/0", False), ("unix:///tmp/s", False), ("sqlite:///x", False)],
)
def test_only_plain_tcp_is_relayed(url: str, can: bool) -> None:  # noqa: FBT001
    assert can_relay(url) is can


def test_a_link_carries_replies_until_it_is_cut_and_again_when_it_is_restored(valkey: Backend) -> None:
    url = present(valkey.url)
    with CloudLink(url) as link:
        assert link.url != url
        client = connect(link.url)
        with RedisCloudStore(client, namespace="link") as store:
            large = "x" * 300_000
            assert store.update("scope", {"large": large}).data == {"large": large}
            link.cut()
            with pytest.raises(StoreError):
                store.get("scope")
            link.restore()
            eventually(lambda: _read(store) == {"large": large}, seconds=10)
        client.close()


def _read(store: RedisCloudStore) -> Any:
    try:
        return present(store.get("scope")).data
    except StoreUnavailableError:
        return None


def test_a_link_to_a_server_that_does_not_run_ends_its_connections() -> None:
    with CloudLink("redis://:secret@127.0.0.1:1/3") as link:
        assert link.url.startswith("redis://:secret@127.0.0.1:")
        assert link.url.endswith("/3")
        client = connect(link.url)
        with RedisCloudStore(client) as store, pytest.raises(StoreUnavailableError):
            store.get("scope")
        client.close()


class FakeChild(Child):
    """A process of the site that only records what is done to it."""

    def __init__(self, name: str, *, runs: bool = True) -> None:
        super().__init__(
            ProcessPlan(
                role=Role.EDGE,
                name=name,
                url="redis://",
                namespace="ns",
                run_id="r",
                cache_size=1,
                timeout_seconds=1.0,
                interval_seconds=1.0,
            )
        )
        self._runs = runs
        self.down_seconds = 0.0

    @property
    def pid(self) -> int | None:
        return 1 if self._runs else None

    def crash(self, down_seconds: float) -> None:
        self.down_seconds = down_seconds

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False


class Desk:
    """Controls of a site of two nodes, one of which does not run."""

    def __init__(self, store: RedisCloudStore, down_seconds: float = 10.0) -> None:
        self.log: list[str] = []
        self.store = store
        self.edges = [FakeChild("edge-1"), FakeChild("edge-2", runs=False)]
        self.controls = SiteControls(self.edges, None, store, down_seconds=down_seconds, log=self.log.append)


@contextmanager
def desk_of(server: fakeredis.FakeServer, down_seconds: float = 10.0) -> Iterator[Desk]:
    with fakeredis.FakeRedis(server=server) as client, RedisCloudStore(client) as store:
        yield Desk(store, down_seconds)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with desk_of(fakeredis.FakeServer()) as made:
        yield made


def test_a_node_is_killed_when_the_site_polls_and_not_before(desk: Desk) -> None:
    desk.controls.kill("edge-1")
    assert desk.edges[0].down_seconds == 0
    desk.controls.run_requested()
    assert desk.edges[0].down_seconds == 10
    assert desk.log == ["edge-1 was killed; it starts again in 10 s"]


@pytest.mark.parametrize(("asked", "used"), [(0.01, 3.0), (1000.0, 20.0)])
def test_a_killed_node_is_down_for_long_enough_to_see_and_not_for_long(asked: float, used: float) -> None:
    with desk_of(fakeredis.FakeServer(), asked) as desk:
        desk.controls.kill("edge-1")
        desk.controls.run_requested()
        assert desk.edges[0].down_seconds == used


def test_a_node_hangs_and_continues(desk: Desk) -> None:
    desk.controls.toggle_pause("edge-1")
    desk.controls.run_requested()
    assert desk.controls.paused_node == "edge-1"
    desk.controls.toggle_pause("edge-1")
    desk.controls.run_requested()
    assert desk.controls.paused_node == ""
    assert desk.log == ["edge-1 hangs: its process is stopped", "edge-1 continues"]


def test_what_does_not_run_is_neither_killed_nor_stopped(desk: Desk) -> None:
    desk.controls.kill("edge-2")
    desk.controls.toggle_pause("edge-2")
    desk.controls.run_requested()
    assert desk.log == ["edge-2 does not run", "edge-2 does not run"]


def test_a_scope_is_edited_in_the_cloud(desk: Desk) -> None:
    desk.store.update("edge-1", {"a": 1})
    desk.controls.edit("edge-1")
    desk.controls.run_requested()
    state = present(desk.store.get("edge-1"))
    assert state.version == 2
    assert state.data["a"] == 1
    assert "edited_in_the_cloud" in state.data
    assert desk.log == ["edge-1 was edited in the cloud: version 2"]


def test_without_a_relay_the_link_is_not_cut(desk: Desk) -> None:
    desk.controls.toggle_link()
    desk.controls.run_requested()
    assert not desk.controls.is_link_cut
    assert desk.log == ["the cloud link cannot be cut: its URL is not redis://"]


def test_an_action_that_the_cloud_refuses_is_logged() -> None:
    server = fakeredis.FakeServer()
    with desk_of(server) as desk:
        server.connected = False
        desk.controls.edit("edge-1")
        desk.controls.run_requested()
        assert [line.startswith("not done: ") for line in desk.log] == [True]
        server.connected = True


def test_a_pace_tells_the_recorded_moment_of_a_real_one() -> None:
    pace = Pace(starts_at=1000.0, first_us=500_000_000, speed=60.0)
    assert pace.recorded_at(1001.0).timestamp() == 560.0
    assert pace.recorded_at(0.0).timestamp() == 500.0
    assert pace.due(560_000_000) == 1001.0
