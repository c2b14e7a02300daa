"""A worker's limit of bytes a second, and what is sent again after a cut."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Maker

from edge_redis import CloudWorker, EdgeSynchronizer, InvalidArgumentError, RedisCloudStore, StoreUnavailableError
from support.servers import Backend


class Cut:
    """A cloud store whose link is cut in the middle of calls, and which keeps what was sent."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.get, self.changes_since = store.get, store.changes_since
        self.sent: list[tuple[str, int]] = []
        self.is_cut = False

    def apply(self, scope: str, changes: Any, strategy: Any) -> Any:
        if self.is_cut:
            raise StoreUnavailableError("cut")
        self.sent += [(scope, change.version) for change in changes]
        return self._store.apply(scope, changes, strategy)


def test_what_was_confirmed_before_a_cut_is_not_sent_again(backend: Backend) -> None:
    with backend.client() as client, RedisCloudStore(client) as store:
        scopes = [f"s{number}" for number in range(4)]
        for scope in scopes:
            for number in range(6):
                EdgeSynchronizer(client, scope=scope).update_local({"n": number, "pad": "x" * 3_000})
        cloud = Cut(store)
        with CloudWorker(client, cloud, claim_idle_seconds=0.001) as worker:
            for _ in range(100):
                cloud.is_cut = not cloud.is_cut
                try:
                    if not worker.run_once() and not cloud.is_cut and not worker.status()["changes_waiting"]:
                        break
                except StoreUnavailableError:
                    assert cloud.is_cut
        assert len(cloud.sent) == len(set(cloud.sent)) == 24


def test_a_limited_worker_carries_less_in_a_round_and_counts_what_it_sends(make: Maker) -> None:
    with pytest.raises(InvalidArgumentError, match="max_bytes_per_second"):
        make("CloudWorker", make.client(), max_bytes_per_second=0)
    sync = make("EdgeSynchronizer", scope="s")
    for number in range(20):
        sync.update_local({"n": number, "pad": "x" * 1_000})
    worker = make("CloudWorker", make.client(), max_bytes_per_second=2_000)
    handled = worker.run_once()
    assert 1 <= handled < 10
    assert make("RedisCloudStore").get("s").data["n"] == handled - 1
    while worker.run_once():
        pass
    assert sync.is_synced
