"""CloudWorker on an asyncio client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_redis._io.loop import AwaitedLoop
from edge_redis._services.aio_cloud import RedisCloudStore
from edge_redis._services.base import AsyncService
from edge_redis._services.bind import awaited
from edge_redis._services.worker import consumer_name
from edge_redis._sync.signing import Keys
from edge_redis._sync.store import CloudStore
from edge_redis._sync.worker import Worker

if TYPE_CHECKING:
    from edge_redis._io.runner import AsyncClient


class CloudWorker(AsyncService[Worker]):
    """Carries changes between an edge and the cloud, both ways. Any number share the work.

    Args:
        edge_client: a client of the edge's Redis or Valkey.
        cloud: a CloudStore, or a client of the cloud's Redis, which means RedisCloudStore.
        namespace: the one of the synchronizers served; all scopes of it are carried.
        group: the consumer group. One outbox has one group: two would each remove what the other needs.
        consumer: this worker's name in it, by default a new one.
        batch_size: changes of a scope taken at once, up to 1,000.
        claim_idle_seconds: after this long without a confirmation a worker is taken for dead
            and its changes go to another.
        max_deliveries: after so many failures a change goes to the dead letters.
        keys: of each origin the key its changes are signed with (``signing_key``), or several while one
            replaces another; or a function of an origin that returns them, None where it knows it not. With
            keys, a change that is not signed by its origin goes to the dead letters at once. The key of
            "cloud", this worker's own, signs what it brings to the edge, so that this may be offered again
            where the cloud loses its data.

    """

    def __init__(
        self,
        edge_client: AsyncClient,
        cloud: CloudStore | AsyncClient,
        *,
        namespace: str = "default",
        group: str = "cloud",
        consumer: str | None = None,
        batch_size: int = 100,
        claim_idle_seconds: float = 5.0,
        max_deliveries: int = 5,
        keys: Keys | None = None,
    ) -> None:
        self._own_store: RedisCloudStore | None = None
        if not isinstance(cloud, CloudStore):
            cloud = self._own_store = RedisCloudStore(cloud, namespace=namespace)
        room = Worker(
            cloud,
            namespace=namespace,
            group=group,
            consumer=consumer_name() if consumer is None else consumer,
            batch_size=batch_size,
            claim_idle_seconds=claim_idle_seconds,
            max_deliveries=max_deliveries,
            keys=keys,
        )
        super().__init__(edge_client, room)
        self._loop = AwaitedLoop(self.run_once)

    run_once = awaited(Worker.run_once)
    lag = awaited(Worker.lag)
    status = awaited(Worker.status)
    dead_letters = awaited(Worker.dead_letters)
    replay_dead_letters = awaited(Worker.replay_dead_letters)
    collect = awaited(Worker.collect)

    async def run(self) -> None:
        """Carry changes until ``stop`` or, in the main thread, SIGTERM or SIGINT. The round under way is finished."""
        await self._loop.run()

    def stop(self) -> None:
        """Let ``run`` return after the round under way, on the loop's own thread; it does not run again."""
        self._loop.stop()

    async def close(self) -> None:
        """Stop, let the round under way end, and close the store where this worker made it. The clients stay open."""
        await self._loop.end()
        await super().close()
        if self._own_store is not None:
            await self._own_store.close()
