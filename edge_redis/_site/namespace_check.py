"""Checks a namespace: its layout, and whether its monitor, worker and relays run. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from edge_redis._health.leader_state import LeaderState, RelayState, read_leader, read_relays
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.doctor_finding import Finding
from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis._site.layout_check import check_layout
from edge_redis._site.resharding import ShardsOfComponent, list_shards

LONG_LAG_SECONDS: Final = 60.0
"""A change that waits longer is carried by no worker."""
MANY_ATTEMPTS: Final = 3


def examine_namespace(edge: EdgeRedis) -> list[Finding]:
    """Check the namespace of a bundle.

    Raises:
        StoreError: the server cannot be reached, or refuses.

    """
    runner = BlockingRunner(edge.client)
    nodes = edge.health.summary()["monitored_nodes"]
    with edge.worker(edge.client) as worker:
        sync = worker.status()
    return [
        runner.run(check_layout(edge.namespace)),
        *_check_shards(list_shards(edge.client, edge.namespace)),
        _check_watch(runner.run(read_leader(edge.namespace)), nodes),
        *_check_relays(runner.run(read_relays(edge.namespace))),
        _check_worker(sync),
        _check_dead_letters(sync["dead_letters"]),
    ]


def _check_shards(found: list[ShardsOfComponent]) -> Iterator[Finding]:
    for each in found:
        if not each.is_complete:
            to = f"edge-redis shards --component {each.component} --to {each.record.latest}"
            yield Finding("warn", "shards", f"{each.component}: a change of their number is not complete: run '{to}'")


def _check_watch(watch: LeaderState, nodes: int) -> Finding:
    if watch.is_led:
        return Finding("ok", "monitor", f"one leads, term {watch.term}, last round {watch.round_age_seconds:.1f} s ago")
    if not nodes:
        return Finding("ok", "monitor", "none leads, and no node is registered")
    return Finding(
        "warn", "monitor", f"none leads, so nobody notices when one of {nodes:,} nodes fails: start a monitor"
    )


def _check_relays(relays: list[RelayState]) -> Iterator[Finding]:
    for relay in relays:
        undelivered = relay.dropped + relay.lost
        if relay.attempts >= MANY_ATTEMPTS:
            text = f"{relay.name}: {relay.attempts:,} failed attempts at one transition: {relay.last_error}"
            yield Finding("warn", "relay", text)
        elif undelivered:
            yield Finding("warn", "relay", f"{relay.name}: {undelivered:,} transitions were not delivered")
        else:
            yield Finding("ok", "relay", f"{relay.name}: {relay.delivered:,} delivered")


def _check_worker(sync: Any) -> Finding:
    waiting, seconds = sync["changes_waiting"], sync["oldest_seconds"]
    if waiting and seconds > LONG_LAG_SECONDS:
        text = f"{waiting:,} pending, the oldest for {seconds:,.0f} s: does a worker run, and reach the cloud?"
        return Finding("warn", "worker", text)
    return Finding("ok", "worker", f"changes pending: {waiting:,}")


def _check_dead_letters(count: int) -> Finding:
    if count:
        return Finding(
            "fail", "dead letters", f"{count:,}: see 'edge-redis sync dead-letters', then replay or discard them"
        )
    return Finding("ok", "dead letters", "none")
