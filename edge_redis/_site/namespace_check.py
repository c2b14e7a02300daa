"""Checks a namespace: its layout, and whether its monitor, worker and relays run. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from edge_redis._cache import keys as cache_keys
from edge_redis._core.keys import KeySpace
from edge_redis._core.layout import layout_key
from edge_redis._core.operation import Batch, command
from edge_redis._health import keys as health_keys
from edge_redis._health.leader_state import LeaderState, RelayState, read_leader, read_relays
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.doctor_finding import Finding
from edge_redis._metrics import keys as metrics_keys
from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis._sync import keys as sync_keys

LONG_LAG_SECONDS: Final = 60.0
"""A change that waits longer is carried by no worker."""
MANY_ATTEMPTS: Final = 3

_LAYOUTS: Final = {
    "cache": cache_keys.LAYOUT_VERSION,
    "health": health_keys.LAYOUT_VERSION,
    "metrics": metrics_keys.LAYOUT_VERSION,
    "sync": sync_keys.LAYOUT_VERSION,
    "cloud": sync_keys.LAYOUT_VERSION,
}


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
        _check_layout(runner.run(_read_layouts(edge.namespace))),
        _check_watch(runner.run(read_leader(edge.namespace)), nodes),
        *_check_relays(runner.run(read_relays(edge.namespace))),
        _check_worker(sync),
        _check_dead_letters(sync["dead_letters"]),
    ]


async def _read_layouts(namespace: str) -> dict[str, bytes | None]:
    found = await Batch(
        [command(_bytes_or_none, "GET", layout_key(KeySpace(namespace, name).tag)) for name in _LAYOUTS]
    )
    return dict(zip(_LAYOUTS, found, strict=True))


def _bytes_or_none(reply: Any) -> bytes | None:
    return reply if isinstance(reply, bytes) else None


def _check_layout(found: dict[str, bytes | None]) -> Finding:
    others = [
        f"{name} has {version.decode(errors='replace')}"
        for name, version in found.items()
        if version is not None and version != str(_LAYOUTS[name]).encode()
    ]
    if others:
        return Finding("fail", "layout", f"{', '.join(others)}: written by another release, which this one must match")
    used = [name for name, version in found.items() if version is not None]
    return Finding("ok", "layout", f"in use: {', '.join(used)}" if used else "nothing was written yet")


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
