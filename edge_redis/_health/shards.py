"""The shards of the nodes of a namespace; ``_core/shards.py`` says how they are named and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from edge_redis._core.shards import ShardCount, Shards, ShardSet
from edge_redis._health.checker import Checker, TimeoutWarning
from edge_redis._health.config import HealthConfig
from edge_redis._health.history import History
from edge_redis._health.keys import LAYOUT_VERSION, HealthKeys
from edge_redis._health.maintenance import Maintenance
from edge_redis._health.moved_nodes import refuse_closed
from edge_redis._health.registry import Registry

S = TypeVar("S")


class HealthShard:
    """One shard: its keys, and what reads and writes them."""

    def __init__(self, keys: HealthKeys, config: HealthConfig, warning: TimeoutWarning) -> None:
        self.keys = keys
        self.registry = Registry(keys, config)
        self.checker = Checker(keys, config, warning)
        self.history = History(keys, config)
        self.maintenance = Maintenance(keys, config, self.checker)

    async def count(self) -> tuple[int, int]:
        """Return how many nodes are registered, and how many checks were ever made here."""
        nodes, checks = await refuse_closed(self.keys, self.registry.count(), self.history.total_checks())
        return nodes, checks


def list_logs(made: ShardSet[S], shards: Shards[S]) -> list[S]:
    """Return every shard whose stream of transitions is read, also those whose nodes were moved."""
    return [made.of(place.shards, place.generation)[place.number] for place in shards.record.list_logs()]


def list_emptied(made: ShardSet[S], shards: Shards[S]) -> list[S]:
    """Return the shards whose nodes were moved; none where nothing was ever written."""
    if not shards:
        return []
    present = {*shards.record.list_places()}
    found = [place for place in shards.record.list_logs() if place not in present]
    return [made.of(place.shards, place.generation)[place.number] for place in found]


def make_shards(
    namespace: str, make: Callable[[HealthKeys], S], shards: int | None = None, default_shards: int = 1
) -> ShardSet[S]:
    """Return what ``make`` makes for the keys of each shard of a namespace's nodes."""
    count = ShardCount(namespace, "health", LAYOUT_VERSION, shards, default_shards)
    return ShardSet(count, lambda name, *_: make(HealthKeys(namespace, name)))
