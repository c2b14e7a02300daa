"""What counts as a try of a change, and what does not: lost replies and outages never."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from edge_redis import CloudWorker, EdgeSynchronizer, StoreUnavailableError
from edge_redis._core.operation import Batch, Operation
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._sync import scripts
from support.sync import FailingStore


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")


class Stammering(BlockingRunner):
    """A client library that sends each command ten times, since replies get lost."""

    def perform_operation(self, operation: Operation[Any]) -> Any:
        for _ in range(10):
            super().perform_operation(operation)
        return super().perform_operation(operation)

    def perform_batch(self, batch: Batch[Any]) -> list[Any]:
        for _ in range(10):
            super().perform_batch(batch)
        return super().perform_batch(batch)


def test_replies_lost_again_and_again_bring_no_change_nearer_to_the_dead_letters(client: Any) -> None:
    with EdgeSynchronizer(client, scope="room") as sync:
        for number in range(3):
            sync.update_local({"n": number})
        store = FailingStore()
        with CloudWorker(client, store, max_deliveries=2, claim_idle_seconds=60) as worker:
            component, runner = worker._component, Stammering(client)
            assert runner.run(component.run_once()) == 0  # its first try, of two
            assert worker.dead_letters() == []
            store.error = OSError("cut")
            for _ in range(8):
                with pytest.raises(StoreUnavailableError):
                    runner.run(component.run_once())
            assert worker.dead_letters() == []
            store.versions = (-1,)
            runner.run(component.run_once())
            assert sync.pending_count == 0
            assert [version for _, version, *_ in store.kept] == [1, 2, 3]


def test_an_edge_that_is_away_when_changes_are_given_back_costs_them_nothing(client: Any) -> None:
    with EdgeSynchronizer(client, scope="room") as sync:
        sync.update_local({"n": 1})
        store = FailingStore(error=OSError("cut"))
        with CloudWorker(client, store, max_deliveries=2, claim_idle_seconds=60) as worker:
            edge_away = StoreUnavailableError("the edge too")

            def fail(*_: Any) -> None:
                raise edge_away

            for _ in range(8):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(scripts, "set_deliveries", fail)
                    with pytest.raises(StoreUnavailableError):
                        worker.run_once()
            store.versions = (-1,)
            assert worker.run_once() == 1
            assert worker.dead_letters() == []


def test_a_worker_that_was_taken_over_leaves_its_successor_the_entries(client: Any) -> None:
    with EdgeSynchronizer(client, scope="room") as sync:
        for number in range(2):
            sync.update_local({"n": number})
        with (
            CloudWorker(client, FailingStore(), consumer="one", claim_idle_seconds=60) as one,
            CloudWorker(client, FailingStore(), consumer="two", claim_idle_seconds=0.001) as two,
        ):
            runner = BlockingRunner(client)
            runner.run(one._component._edge.settle())
            taken = runner.run(one._component.pusher.leases.take(["room"]))[0]["room"]
            assert len(taken.entries) == 2
            client.xinfo_groups(client.keys("*pending:room")[0])
            successor = _lease_when_free(runner, two)
            assert [entry.deliveries for entry in successor.entries] == [2, 2]
            assert runner.run(one._component.pusher.leases.set_deliveries("room", taken.entries)) == 0
            assert runner.run(two._component.pusher.leases.set_deliveries("room", successor.entries)) == 2


def test_an_outage_that_outlasts_the_claim_time_counts_against_nothing_wherever_it_went(client: Any) -> None:
    with EdgeSynchronizer(client, scope="room") as sync:
        sync.update_local({"n": 1})
        workers = [CloudWorker(client, FailingStore(), claim_idle_seconds=0.001) for _ in range(3)]
        runner = BlockingRunner(client)
        taken = [_lease_when_free(runner, worker) for worker in workers]  # each takes the one before for dead
        assert [each.entries[0].deliveries for each in taken] == [1, 2, 3]
        runner.run(workers[0]._component.pusher.leases.give_back("room", taken[0]))
        assert (
            runner.run(workers[2]._component.pusher.leases.set_deliveries("room", taken[2].entries, change=-2)) == 1
        )  # still its own
        runner.run(workers[0]._component.pusher.leases.give_back("room", taken[0]))
        assert _lease_when_free(runner, workers[1]).entries[0].deliveries == 2
        for worker in workers:
            worker.close()


def _lease_when_free(runner: Any, worker: Any) -> Any:
    from support.deadline import eventually  # noqa: PLC0415 -- of this helper alone

    found: list[Any] = []
    runner.run(worker._component._edge.settle())

    def lease() -> Any:
        found[:] = runner.run(worker._component.pusher.leases.take(["room"]))[0].values()
        return found

    eventually(lease, seconds=5, every=0.002)
    return found[0]
