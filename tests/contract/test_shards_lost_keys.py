"""A server loses keys while the number of shards changes: what is written after that is moved as all else."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest
from conftest import Maker

from edge_redis import EdgeNode
from edge_redis._health.resharding import HealthResharding
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.namespaces import find_keys
from edge_redis._site.resharding import Resharding
from edge_redis._sync.resharding import SyncResharding
from edge_redis.errors import StoreError
from support.servers import Backend

NAMES = ("a", "b", "c")


class Units:
    """The nodes or the scopes of a namespace, and the change of the number of their shards."""

    def __init__(self, make: Maker, client: Any, component: str) -> None:
        self.client = client
        self.runner = BlockingRunner(client)
        self.component = component
        self._make = make
        self.start_services()

    def start_services(self) -> None:
        self.monitor = self._make("HealthMonitor")
        self.synchronizers = {name: self._make("EdgeSynchronizer", scope=name) for name in NAMES}

    def resharding(self) -> Resharding:
        if self.component == "sync":
            return SyncResharding("default")
        return HealthResharding("default", lambda prefix: find_keys(self.client, prefix))

    def write(self, *names: str) -> None:
        for name in names:
            if self.component == "sync":
                self.synchronizers[name].update_local({"n": 1})
            else:
                self.monitor.register(EdgeNode(name, name))

    def list(self) -> list[str]:
        if self.component == "health":
            return sorted(node.id for node in self.monitor.nodes())
        return [name for name, each in self.synchronizers.items() if each.get_local_state() is not None]

    def stop_with_receipt(self) -> None:
        """Begin a change; end it when the new shards have taken all of the closed shard, which still has it."""
        flow = self.resharding().change(2, lambda _: None)
        step = flow.send(None)
        while not self._have_receipts():
            step = flow.send(self.runner.perform(step))
        flow.close()

    def go_on(self, flow: Coroutine[Any, Any, object], step: Any) -> None:
        """Complete a change of which this is the next step."""
        with suppress(StopIteration):
            while True:
                step = flow.send(self.runner.perform(step))

    def _have_receipts(self) -> bool:
        keys = self.client.keys("*:received")
        return len(keys) == 2 and all(b":" not in (self.client.hget(key, "1.0") or b":") for key in keys)


@pytest.fixture(params=["health", "sync"])
def units(request: pytest.FixtureRequest, make: Maker, backend: Backend) -> Any:
    with backend.client() as client:
        yield Units(make, client, request.param)


def test_what_is_written_to_a_shard_that_a_failover_opened_is_moved(units: Units) -> None:
    units.write("a", "b")
    units.stop_with_receipt()
    units.client.delete(f"er:{{default:{units.component}0}}:moved")
    units.write("c")
    units.runner.run(units.resharding().change(2, lambda _: None))
    assert units.list() == ["a", "b", "c"]


def test_a_receipt_that_outlives_the_other_keys_of_its_namespace_stands_for_no_later_shard(units: Units) -> None:
    units.write("a")
    units.stop_with_receipt()
    units.client.delete(*(key for key in units.client.keys("*") if not key.endswith(b":received")))
    units.start_services()
    units.write("b", "c")
    units.runner.run(units.resharding().change(2, lambda _: None))
    assert units.list() == ["b", "c"]


def test_a_change_whose_shard_was_opened_by_a_failover_ends_with_an_error(units: Units) -> None:
    units.write("a", "b")
    flow = units.resharding().change(2, lambda _: None)
    step = flow.send(None)
    while not units.client.exists(closed := f"er:{{default:{units.component}0}}:moved"):
        step = flow.send(units.runner.perform(step))
    units.client.delete(closed)
    units.write("c")
    with pytest.raises(StoreError, match="not closed any more"):
        units.go_on(flow, step)
    units.runner.run(units.resharding().change(2, lambda _: None))
    assert units.list() == ["a", "b", "c"]


def test_a_change_that_sleeps_through_a_failover_and_another_change_copies_nothing_more(units: Units) -> None:
    units.write("a", "b")
    flow = units.resharding().change(2, lambda _: None)
    step = flow.send(None)
    while not units.client.keys("*:received") or not any(
        units.client.hexists(k, "1.0") for k in units.client.keys("*:received")
    ):
        step = flow.send(units.runner.perform(step))
    units.client.delete(f"er:{{default:{units.component}0}}:moved")
    units.runner.run(units.resharding().change(2, lambda _: None))
    units.write("c")
    before = {key: units.client.hgetall(key) for key in units.client.keys("*:received")}
    with suppress(StoreError):
        units.go_on(flow, step)
    assert {key: units.client.hgetall(key) for key in units.client.keys("*:received")} == before
    assert units.list() == ["a", "b", "c"]
