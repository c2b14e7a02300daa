"""Readings of one node, one function and one scope in detail, of bounded cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from edge_redis._core.operation import Invoke
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis._services.aio.metrics import EdgeMetrics
from edge_redis._site.function_state import FunctionDetail, FunctionState, Minute
from edge_redis._site.node_state import NodeDetail, NodeState
from edge_redis._site.scope_settings import read_settings
from edge_redis._site.scope_state import ScopeDetail, ScopeState
from edge_redis._site.state_rows import bin_latencies, compare_fields, list_spells, to_function_state
from edge_redis._sync.cloud_store import AsyncCloudStore, CloudStore
from edge_redis.errors import EdgeRedisError
from edge_redis.models import SyncState, utc_now
from edge_redis.types import DeadLetter, PendingChange

MAX_PAIRS: Final = 50
"""Nodes of a function, and functions of a node, whose figures are read."""
MAX_RECORDS: Final = 4000
"""Records that the percentiles over time are made of."""
MAX_ERRORS: Final = 500
MAX_CHECKS: Final = 100
MAX_TRANSITIONS: Final = 100
MAX_PENDING: Final = 100
"""Longer outboxes are counted, not read."""
MAX_ROWS: Final = 50
BINS: Final = 40
DAY_SECONDS: Final = 86400.0


async def read_node(edge: EdgeRedis, state: NodeState, pairs: Sequence[tuple[str, str]]) -> NodeDetail:
    """Return one node in detail."""
    health, name = edge.health, state.id
    transitions = await health.transitions(MAX_TRANSITIONS, name)
    now = utc_now()
    return NodeDetail(
        state=state,
        recommendation=await health.get_recovery_recommendation(name),
        checks=tuple(await health.get_history(name, MAX_CHECKS)),
        day=await health.availability(name, DAY_SECONDS),
        month=await health.availability(name, 30 * DAY_SECONDS),
        spells=list_spells(transitions, now - timedelta(days=1), now),
        transitions=tuple(reversed(transitions)),
        functions=await read_pairs(edge.metrics, [pair for pair in pairs if pair[1] == name]),
    )


async def read_function(
    edge: EdgeRedis, name: str, pairs: Sequence[tuple[str, str]], minutes: tuple[Minute, ...]
) -> FunctionDetail:
    """Return one function in detail."""
    metrics = edge.metrics
    own = [pair for pair in pairs if pair[0] == name]
    records = [record for record in await metrics.recent(MAX_RECORDS) if record.function_id == name]
    errors = [record for record in await metrics.errors(MAX_ERRORS) if record.function_id == name]
    return FunctionDetail(
        summary=to_function_state(name, await metrics.summary(name)),
        nodes=await read_pairs(metrics, own),
        node_count=len(own),
        minutes=minutes,
        latencies=bin_latencies(records, BINS),
        errors=tuple(reversed(errors[-MAX_ROWS:])),
    )


async def read_pairs(metrics: EdgeMetrics, pairs: Sequence[tuple[str, str]]) -> tuple[FunctionState, ...]:
    """Return the figures of (function, node) pairs, up to ``MAX_PAIRS`` of them."""
    return tuple([to_function_state(pair[0], await metrics.summary(*pair), pair[1]) for pair in pairs[:MAX_PAIRS]])


async def read_scope(
    edge: EdgeRedis,
    cloud: AsyncCloudStore | CloudStore,
    state: ScopeState,
    dead_letters: Sequence[DeadLetter],
) -> ScopeDetail:
    """Return one scope at both ends."""
    runner = AsyncRunner(edge.client)
    there, cloud_error = await _read_cloud(runner, cloud, state.scope)
    settings = await runner.run(read_settings(edge.namespace, state.scope))
    async with edge.synchronizer(state.scope, **settings) as synchronizer:
        here, edge_error = None, ""
        try:
            here = await synchronizer.get_local_state()
        except EdgeRedisError as error:
            edge_error = str(error)
        summary = await synchronizer.summary()
        pending: list[PendingChange] = []
        if state.pending <= MAX_PENDING:
            pending = await synchronizer.get_pending_changes()
        history = await synchronizer.sync_history(MAX_ROWS)
        conflicts = await synchronizer.conflicts(MAX_ROWS)
    return ScopeDetail(
        state=state,
        strategy=summary["conflict_strategy"],
        remote_version=summary["remote_version"],
        edge=here,
        cloud=there,
        edge_error=edge_error,
        cloud_error=cloud_error,
        fields=compare_fields(here.data if here else None, there.data if there else None),
        pending=tuple(pending),
        history=tuple(reversed(history)),
        conflicts=tuple(reversed(conflicts)),
        dead_letters=tuple(letter for letter in dead_letters if letter["scope"] == state.scope),
    )


async def _read_cloud(
    runner: AsyncRunner, cloud: AsyncCloudStore | CloudStore, scope: str
) -> tuple[SyncState | None, str]:
    """Return the cloud's state of a scope, and why it could not be read."""

    async def ask() -> Any:
        return await Invoke(cloud.get, scope)

    try:
        return await runner.run(ask()), ""
    except Exception as error:  # noqa: BLE001 -- a store of the user's own may raise anything: the edge is shown all the same
        return None, str(error) or type(error).__name__
