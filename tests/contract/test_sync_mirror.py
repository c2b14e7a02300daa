"""An edge where nobody has written a scope decides by the strategy that other edges have sent to the cloud."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Maker

from edge_redis import ConflictStrategy
from support.servers import Servers

LATEST = ConflictStrategy.LATEST_WINS


@pytest.fixture
def far(make: Maker, servers: Servers) -> Any:
    backend = servers.backend("fakeredis")
    return backend.async_client() if make.api == "awaited" else backend.client()


def test_a_mirror_takes_the_later_state_of_the_same_version(make: Maker, cloud: Any, far: Any) -> None:
    here, there = make("CloudWorker", make.cloud()), make("CloudWorker", make.cloud(), client=far)
    mirror = make("EdgeSynchronizer", client=far, scope="room")
    cloud.update("room", {"by": "cloud"})
    there.run_once()
    assert mirror.get_local_state() == cloud.get("room")
    make("EdgeSynchronizer", LATEST, scope="room").update_local({"by": "edge"})  # the same version, and later
    for worker in (here, here, there, there):
        worker.run_once()
    assert mirror.get_local_state() == cloud.get("room")
    assert cloud.get("room").data == {"by": "edge"}
