"""edge-redis status: a namespace at a glance."""

from __future__ import annotations

from typing import Any

import typer

from edge_redis.cli import exit_codes, fleet, options, output
from edge_redis.cli.connection import load_settings, open_services


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    heartbeat_timeout: options.HeartbeatTimeout = 60.0,
    as_json: options.Json = False,
    watch: options.Repeat = None,
) -> int:
    """Show nodes, metrics, cache and sync of a namespace.

    Exit code 1: a node is unhealthy, or there are dead letters.

    Nothing is written to the server.
    """
    server = load_settings(url, password_file, namespace)
    with open_services(server, heartbeat_timeout=heartbeat_timeout) as edge:
        return output.repeat(lambda: _show(edge, as_json=as_json), watch)


def _show(edge: Any, *, as_json: bool) -> int:
    found = read(edge)
    if as_json:
        output.print_json(found)
    else:
        _print(found)
    is_fine = not fleet.count_unhealthy(found["nodes"]) and not found["sync"]["dead_letters"]
    return exit_codes.OK if is_fine else exit_codes.FINDING


def read(edge: Any) -> dict[str, Any]:
    """Return the state of a namespace: nodes, health, metrics, cache and sync."""
    with edge.worker(edge.client) as worker:
        sync = worker.status()
    return {
        "namespace": edge.namespace,
        "nodes": fleet.read_nodes(edge.health),
        "health": edge.health.summary(),
        "metrics": edge.metrics.summary(),
        "cache": edge.cache.stats(),
        "sync": sync,
    }


def _print(found: dict[str, Any]) -> None:
    nodes = found["nodes"]
    unhealthy = fleet.count_unhealthy(nodes)
    print(f"namespace {found['namespace']}: {output.count(len(nodes), 'node')}, {unhealthy:,} unhealthy")
    if nodes:
        output.print_table(fleet.HEADER, [fleet.node_row(node) for node in nodes])
    metrics, cache, sync = found["metrics"], found["cache"], found["sync"]
    print(
        f"functions: {output.count(metrics['total'], 'invocation')}, {output.count(metrics['error_count'], 'error')}, "
        f"p50 {metrics['p50']:.2f} ms, p95 {metrics['p95']:.2f} ms, p99 {metrics['p99']:.2f} ms"
    )
    print(
        f"cache: {cache['size']:,} entries, {cache['hit_rate']:.1f}% hits of {cache['hits'] + cache['misses']:,}, "
        f"{output.count(cache['evictions'], 'eviction')}"
    )
    print(
        f"sync: {output.count(sync['scopes'], 'scope')}, {output.count(sync['changes_waiting'], 'change')} pending, "
        f"oldest {output.duration(sync['oldest_seconds'])}, {output.count(sync['dead_letters'], 'dead letter')}"
    )
    if not (nodes or metrics["total"] or cache["size"] or cache["hits"] + cache["misses"] or sync["scopes"]):
        print("nothing is stored in this namespace: `edge-redis namespace list` shows those that are in use")
