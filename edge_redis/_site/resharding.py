"""The number of shards of a namespace's components: how it is now, and its change with data in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from edge_redis._core.operation import Batch, Operation, command
from edge_redis._core.shard_record import ShardRecord
from edge_redis._core.shards import ShardCount, name_shards
from edge_redis._health import keys as health_keys
from edge_redis._health.resharding import FindKeys, HealthResharding
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.clients import BlockingClient
from edge_redis._io.namespaces import drop_namespace, find_keys
from edge_redis._metrics import keys as metrics_keys
from edge_redis._metrics.resharding import MetricsResharding, count_pairs
from edge_redis._sync import keys as sync_keys
from edge_redis._sync.cloud_resharding import CloudResharding
from edge_redis._sync.resharding import SyncResharding


class Resharding(Protocol):
    """The change of the number of shards of one component."""

    async def change(self, shards: int, report: Callable[[ShardRecord], object]) -> ShardRecord:
        """Change the number, or complete a change to it; return the record. ``report`` is called at each step."""

    async def is_complete(self, record: ShardRecord) -> bool:
        """Return whether no change ended halfway."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A component: its layout version, what reads how many units a shard has, and what changes their number."""

    version: int
    count_units: Callable[[str, str], Operation[int]]
    make: Callable[[str, FindKeys], Resharding]


KINDS: Final[Mapping[str, _Kind]] = {
    "health": _Kind(
        health_keys.LAYOUT_VERSION,
        lambda namespace, shard: command(int, "ZCARD", health_keys.HealthKeys(namespace, shard).heartbeats),
        HealthResharding,
    ),
    "metrics": _Kind(metrics_keys.LAYOUT_VERSION, count_pairs, lambda namespace, _: MetricsResharding(namespace)),
    "sync": _Kind(
        sync_keys.LAYOUT_VERSION,
        lambda namespace, shard: command(int, "HLEN", sync_keys.SyncKeys(namespace, "sync", shard=shard).scopes),
        lambda namespace, _: SyncResharding(namespace),
    ),
    "cloud": _Kind(
        sync_keys.LAYOUT_VERSION,
        lambda namespace, shard: command(int, "ZCARD", sync_keys.SyncKeys(namespace, "cloud", shard=shard).feed),
        lambda namespace, _: CloudResharding(namespace),
    ),
}
"""The components whose number of shards is stored."""

CHANGED_TOGETHER: Final = ("health", "metrics", "sync")
"""The components whose number is changed where none is named. A cloud has one shard unless it is given more."""


@dataclass(frozen=True, slots=True)
class ShardsOfComponent:
    """The shards of one component, and how many units (nodes, pairs, scopes) each of the present ones has."""

    component: str
    record: ShardRecord
    units: list[int]
    is_complete: bool
    """Whether no change of their number ended halfway."""


async def read_shards(namespace: str) -> list[ShardsOfComponent]:
    """Return the shards of each component that was ever written to."""
    counts = {name: ShardCount(namespace, name, kind.version, None, 1) for name, kind in KINDS.items()}
    records: list[ShardRecord | None] = await Batch([count.read() for count in counts.values()])
    return [
        await _read_component(namespace, name, record)
        for name, record in zip(counts, records, strict=True)
        if record is not None
    ]


async def _read_component(namespace: str, component: str, record: ShardRecord) -> ShardsOfComponent:
    kind, places = KINDS[component], record.list_places()[: record.latest if record.target is None else None]
    names = [name_shards(namespace, component, place.shards, place.generation)[place.number] for place in places]
    units = await Batch([kind.count_units(namespace, name) for name in names])
    is_complete = await kind.make(namespace, _find_none).is_complete(record)
    return ShardsOfComponent(component, record, units, is_complete)


def _find_none(_: str) -> list[bytes]:
    return []


def list_shards(client: BlockingClient, namespace: str) -> list[ShardsOfComponent]:
    """Return the shards of each component that was ever written to."""
    return BlockingRunner(client).run(read_shards(namespace))


def drop_cache(client: BlockingClient, namespace: str) -> int:
    """Remove every key of the cache, of any number of shards; return how many there were.

    The number is an option of every process, and a cache that has entries of another number refuses it.
    """
    return drop_namespace(client, namespace, "cache")


def change_shards(
    client: BlockingClient, namespace: str, component: str, shards: int, report: Callable[[ShardRecord], object]
) -> ShardRecord:
    """Change the number of shards of a component, or complete such a change; return the record.

    Raises:
        InvalidArgumentError: the component's number cannot be changed so, or another change is under way.
        StoreError: a server failed; the same call goes on where this one ended.

    """
    resharding = KINDS[component].make(namespace, partial(find_keys, client))
    return BlockingRunner(client).run(resharding.change(shards, report))
