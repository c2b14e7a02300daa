"""The methods of HealthMonitor, as coroutines."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any, TypeVar

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.gather import gather
from edge_redis._core.operation import Batch
from edge_redis._core.shards import Shards
from edge_redis._health import node_record, recommendation, verdicts
from edge_redis._health.checker import BRIEF, TimeoutWarning
from edge_redis._health.config import HealthConfig
from edge_redis._health.flapping import FLAPPING_WINDOW
from edge_redis._health.moved_nodes import follow, follow_all, refuse_closed
from edge_redis._health.registry import Reported, prepare_heartbeats, unknown_error
from edge_redis._health.scripts import Claim
from edge_redis._health.shards import HealthShard, list_emptied, list_logs, make_shards
from edge_redis._health.transition_merge import merge_newest, order_of
from edge_redis._health.transition_reader import TransitionReader
from edge_redis._health.verdicts import Verdict
from edge_redis.errors import ShardMovedError
from edge_redis.models import EdgeNode, EdgeNodeStatus, HealthCheck, NodeHealth, ResourceUsage, Transition

T = TypeVar("T")


class Health(Component):
    """The operations of a HealthMonitor, which documents them.

    What concerns one node goes to the shard of its id, what concerns all to all shards at the same time.
    """

    def __init__(self, config: HealthConfig, *, namespace: str = "default") -> None:
        self.namespace = namespace
        self._config = config
        warning = TimeoutWarning(config.heartbeat_timeout_seconds)
        self.shards = make_shards(
            namespace, lambda keys: HealthShard(keys, config, warning), config.shards, config.default_shards
        )
        self._flap_detector = config.flapping_rules()

    async def _on_shard_of(self, node: EdgeNode | str, call: Callable[[HealthShard], Awaitable[T]]) -> T:
        """Return what a call on the shard of a node returns.

        Not even a write settles the number of shards here: its script does.
        """

        def call_there(shards: Shards[HealthShard]) -> Awaitable[T]:
            return call(shards[0] if len(shards) == 1 else shards.choose(node_record.check_node_id(node)))

        return await follow(self.shards, call_there)

    async def _on_all(self, call: Callable[[HealthShard], Awaitable[T]]) -> list[T]:
        """Return what a call on each shard returns; each node is in one of them."""
        return await follow_all(self.shards, lambda shards: gather([call(shard) for shard in shards]))

    async def register(self, node: EdgeNode, heartbeat_timeout_seconds: float | None = None) -> None:
        """Add a node, or replace its record."""
        validation.check_instance("node", node, EdgeNode)
        await self._on_shard_of(node, lambda shard: shard.registry.register(node, heartbeat_timeout_seconds))

    async def set_maintenance(self, node_id: str, seconds: float | None = None, reason: str = "") -> None:
        """Begin or change a node's maintenance."""
        await self._on_shard_of(node_id, lambda shard: shard.maintenance.begin(node_id, seconds, reason))

    async def end_maintenance(self, node_id: str) -> bool:
        """End a node's maintenance; return whether it was in one."""
        return await self._on_shard_of(node_id, lambda shard: shard.maintenance.end(node_id))

    async def snapshot(self) -> list[NodeHealth]:
        """Return every registered node with its health now."""
        parts = await self._on_all(lambda shard: shard.registry.snapshot())
        return join_sorted(parts, "node_id")

    async def availability(self, node_id: str, seconds: float) -> dict[str, Any]:
        """Return a node's availability."""
        return await self._on_shard_of(node_id, lambda shard: shard.history.availability(node_id, seconds))

    async def deregister(self, node_id: str) -> bool:
        """Remove a node and its history; return whether it was registered."""
        return await self._on_shard_of(node_id, lambda shard: shard.registry.deregister(node_id))

    async def get_node(self, node_id: str) -> EdgeNode | None:
        """Return a registered node, or None."""
        return await self._on_shard_of(node_id, lambda shard: shard.registry.get_node(node_id))

    async def nodes(self, status: EdgeNodeStatus | None = None) -> list[EdgeNode]:
        """Return the registered nodes."""
        return join_sorted(await self._on_all(lambda shard: shard.registry.nodes(status)), "id")

    def heartbeat(
        self, node: EdgeNode | str, status: EdgeNodeStatus | None = None, resources: ResourceUsage | None = None
    ) -> Awaitable[bool]:
        """Record a heartbeat; return whether the node is registered.

        Raises:
            ShardMovedError: of one shard, since a heartbeat is an operation alone: call ``follow_heartbeat``.

        """
        if len(self.shards.known) == 1:
            return self.shards.known[0].registry.heartbeat(node, status, resources)
        return self.follow_heartbeat(node, status, resources)

    async def follow_heartbeat(
        self, node: EdgeNode | str, status: EdgeNodeStatus | None, resources: ResourceUsage | None
    ) -> bool:
        return await self._on_shard_of(node, lambda shard: shard.registry.heartbeat(node, status, resources))

    async def heartbeat_many(self, nodes: Iterable[EdgeNode | str]) -> dict[str, bool]:
        """Record many heartbeats; for each id whether it is registered."""
        given = prepare_heartbeats(nodes)

        def send(shards: Shards[HealthShard]) -> Awaitable[list[dict[str, bool]]]:
            pairs = zip(shards, shards.group(given, _reported_id), strict=True)
            return gather([shard.registry.heartbeat_many(group) for shard, group in pairs])

        parts = await follow(self.shards, send)
        return {node_id: is_known for part in parts for node_id, is_known in part.items()}

    async def stale(self, seconds: float | None = None, limit: int = 1000) -> list[str]:
        """Return the ids without a recent heartbeat."""
        parts = await self._on_all(lambda shard: shard.registry.stale(seconds, limit))
        found = parts[0] if len(parts) == 1 else sorted(row for part in parts for row in part)
        return [node_id for _, node_id in found[:limit]]

    async def remove_stale(self, older_than_seconds: float) -> int:
        """Remove the nodes without a recent heartbeat; return how many."""
        return sum(await self._on_all(lambda shard: shard.registry.remove_stale(older_than_seconds)))

    async def check_node(self, node: EdgeNode | str) -> HealthCheck:
        """Check one node."""
        if len(self.shards.known) == 1:  # with fewer frames than any other call, since this one is made most often
            with suppress(ShardMovedError):
                return await self.shards.known[0].checker.check_node(node)
        return await self._on_shard_of(node, lambda shard: shard.checker.check_node(node))

    async def check_cluster(self, nodes: Iterable[EdgeNode | str] | None = None) -> dict[str, Any]:
        """Check many nodes: these, or all that are registered."""
        if nodes is not None:
            return verdicts.summarize(
                await self._check_given([node_record.make_claim(node) for node in node_record.check_nodes(nodes)])
            )
        return verdicts.summarize(join_sorted(await self._on_all(_check_registered), "node_id"))

    async def _check_given(self, claims: list[Claim]) -> list[Verdict]:
        return await follow(self.shards, lambda shards: self._check_in(shards, claims))

    async def _check_in(self, shards: Shards[HealthShard], claims: list[Claim]) -> list[Verdict]:
        groups = shards.group(claims, attrgetter("node_id"))
        pairs = list(zip(shards, groups, strict=True))
        unknown = await gather(
            [shard.registry.find_unknown([each.node_id for each in group if not each.record]) for shard, group in pairs]
        )
        if missing := [node_id for part in unknown for node_id in part]:
            await gather([refuse_closed(shard.keys, shard.registry.count()) for shard in shards])
            raise unknown_error(missing)
        parts = await gather([shard.checker.check(group, BRIEF) for shard, group in pairs])
        return _join_in_order_of(claims, Shards.of(shards.record, [deque(part or []) for part in parts]))

    async def get_history(self, node_id: str, limit: int = 10) -> list[HealthCheck]:
        """Return a node's newest checks, oldest first."""
        return await self._on_shard_of(node_id, lambda shard: shard.history.checks(node_id, limit))

    async def detect_flapping(self, node_id: str, window: int = FLAPPING_WINDOW) -> bool:
        """Return whether a node flaps."""
        validation.check_integer("window", window, least=1)
        history = await self._on_shard_of(node_id, lambda shard: shard.history.read_for_flapping(node_id, window))
        return self._flap_detector.is_flapping(history, window)

    async def get_recovery_recommendation(self, node_id: str) -> str:
        """Return the recommendation for a node."""
        history = await self._on_shard_of(node_id, lambda shard: shard.history.read_for_flapping(node_id))
        return recommendation.recommend(history.checks, flapping=self._flap_detector.is_flapping(history))

    async def heartbeat_age(self, node_id: str) -> dict[str, Any]:
        """Return statistics of the heartbeat's age at a node's checks."""
        return await self._on_shard_of(node_id, lambda shard: shard.history.heartbeat_age(node_id))

    async def transitions(self, limit: int = 100, node_id: str | None = None) -> list[Transition]:
        """Return the newest transitions, oldest first."""
        shards = self.shards.known or await self.shards.find()
        while True:
            record, logs = shards.record, list_logs(self.shards, shards)
            if node_id is not None:
                logs = [logs[at] for at in record.find_logs(node_record.check_node_id(node_id))]
            reads: list[Awaitable[Any]] = [shard.history.transitions(limit, node_id) for shard in logs]
            *parts, stored = await gather([*reads, self.shards.count.read()])
            if not self.shards.learn(stored):
                break
            shards = self.shards.known
        if node_id is None:
            return merge_newest(parts, limit, record.list_logs())
        return sorted((change for part in parts for change in part), key=_order_of)[-limit:]

    async def summary(self) -> dict[str, Any]:
        """Return the number of nodes and of checks, and the timeout."""
        counts = await self._on_all(HealthShard.count)
        nodes, checks = map(sum, zip(*counts, strict=True))
        if others := list_emptied(self.shards, self.shards.known):
            checks += sum(await Batch([shard.history.total_checks() for shard in others]))
        timeout = self._config.heartbeat_timeout_seconds
        return {"monitored_nodes": nodes, "total_checks": checks, "timeout_seconds": timeout}

    def read_transitions(
        self, position: str | None, node_id: str | None, timeout: float | None, poll_seconds: float
    ) -> TransitionReader:
        """Return a reader of the transitions after ``position``."""
        return TransitionReader(self.shards, position, node_id, timeout, poll_seconds)


async def _check_registered(shard: HealthShard) -> list[Verdict]:
    claims = [Claim(node_id) for node_id in await shard.registry.ids()]
    return await shard.checker.check(claims, BRIEF) or []


def _join_in_order_of(claims: Sequence[Claim], waiting: Shards[deque[Verdict]]) -> list[Verdict]:
    """Return the verdicts of all shards in the order of the claims, some of which may have none."""
    if len(waiting) == 1:
        return list(waiting[0])
    found = []
    for claim in claims:
        queue = waiting.choose(claim.node_id)
        if queue and queue[0].node_id == claim.node_id:
            found.append(queue.popleft())
    return found


def _order_of(change: Transition) -> tuple[int, int]:
    return order_of(change.position)


def _reported_id(node: Reported | str) -> str:
    return node if isinstance(node, str) else node.node.id


def join_sorted(parts: Sequence[list[T]], field: str) -> list[T]:
    """Return what all shards have as one list, in the order of this field; each part is in order."""
    if len(parts) == 1:
        return parts[0]
    return sorted((each for part in parts for each in part), key=attrgetter(field))
