"""edge-redis metrics: functions' counts and latencies, and their export to Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer

from edge_redis.cli import exit_codes, groups, options, output
from edge_redis.cli.connection import load_settings, open_services
from edge_redis.errors import InvalidArgumentError
from edge_redis.settings import Settings

_LONG_SECONDS: Final = 3600.0
_SUMMARY: Final = ("total", "success_rate", "error_count", "avg_latency", "p50", "p95", "p99")
_ERRORS_HEADER: Final = ("time (UTC)", "function", "node", "ms", "error")
_RANKINGS: Final = ("total", "error_count", "error_rate", "avg_latency", "total_ms", "p50", "p95", "p99")

Function = Annotated[str | None, typer.Option("--function", metavar="ID", help="Only this function.")]
Node = Annotated[str | None, typer.Option("--node", metavar="ID", help="Only this node.")]
Scopes = Annotated[
    list[str] | None, typer.Option("--scope", help="Export the remote version of this scope too; may be repeated.")
]
CacheSize = Annotated[int, typer.Option("--cache-size", metavar="N", help="max_size of the site's cache.")]


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    group = groups.make_group("metrics", "Counts and latencies of functions, and their export to Prometheus.")
    for command in (summary, top, timeline, errors, slo, serve, show):
        group.command(command.__name__)(command)
    app.add_typer(group)


def summary(
    function: Function = None,
    node: Node = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
    watch: options.Repeat = None,
) -> int:
    """Show invocations, success rate, errors and latencies."""

    def display() -> int:
        found = edge.metrics.summary(function, node)
        if as_json:
            output.print_json(found)
        else:
            output.print_table(("figure", "value"), [(name, _figure(name, found[name])) for name in _SUMMARY])
        return exit_codes.OK

    with open_services(load_settings(url, password_file, namespace)) as edge:
        return output.repeat(display, watch)


def _figure(name: str, value: Any) -> str:
    if name == "success_rate":
        return f"{value:.1f}%"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f} ms"


def top(
    by: Annotated[str, typer.Option(help=f"Order: {', '.join(_RANKINGS)}.")] = "total",
    group_by: Annotated[str, typer.Option(help="function, node or pair (of both).")] = "function",
    limit: options.Limit = 10,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
    watch: options.Repeat = None,
) -> int:
    """List the functions (or nodes) with the highest figures."""

    def display() -> int:
        rows = edge.metrics.top(by, limit, group_by=group_by)
        if as_json:
            output.print_json(rows)
        else:
            _print_ranking(rows)
        return exit_codes.OK

    with open_services(load_settings(url, password_file, namespace)) as edge:
        return output.repeat(display, watch)


def _print_ranking(rows: Sequence[Mapping[str, Any]]) -> None:
    names = [name for name in ("function_id", "node_id") if any(row[name] is not None for row in rows)]
    titles = [name.removesuffix("_id") for name in names]
    cells = [(*(row[name] for name in names), *(_figure(name, row[name]) for name in _SUMMARY)) for row in rows]
    if cells:
        output.print_table((*titles, *_SUMMARY), cells)
    else:
        print("no invocations")


def timeline(
    function: Function = None,
    node: Node = None,
    minutes: Annotated[int, typer.Option(min=1, metavar="N", help="Number of minutes, up to now.")] = 60,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Show invocations, errors and latency minute by minute."""
    with open_services(load_settings(url, password_file, namespace)) as edge:
        rows = edge.metrics.timeline(function, node, minutes)
    if as_json:
        output.print_json(rows)
    else:
        output.print_table(
            ("minute (UTC)", "total", "errors", "success", "avg ms"),
            [
                (
                    f"{row['minute']:%m-%d %H:%M}",
                    f"{row['total']:,}",
                    f"{row['errors']:,}",
                    f"{row['success_rate']:.1f}%",
                    f"{row['avg_latency_ms']:.2f}",
                )
                for row in rows
            ],
        )
    return exit_codes.OK


def errors(
    limit: options.Limit = 20,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """List the newest failed invocations."""
    with open_services(load_settings(url, password_file, namespace)) as edge:
        rows = edge.metrics.errors(limit)
    output.print_rows(rows, _ERRORS_HEADER, _error_row, nothing="no errors", as_json=as_json)
    return exit_codes.OK


def _error_row(record: Any) -> Sequence[object]:
    at = f"{record.timestamp:%m-%d %H:%M:%S}"
    return at, record.function_id, record.node_id, f"{record.duration_ms:.2f}", record.error


def slo(
    objective: Annotated[float, typer.Option(help="Percentage of good invocations, such as 99.9 (not 0.999).")] = 99.0,
    function: Function = None,
    node: Node = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Show how an objective was kept, and how fast the error budget burns.

    Exit code 1: it is missed.
    """
    with open_services(load_settings(url, password_file, namespace)) as edge:
        found = edge.metrics.slo_report(objective, function_id=function, node_id=node)
    if as_json:
        output.print_json(found)
    else:
        print("bad: failed, or slower than the slow_ms of the process that recorded it")
        print(f"good: {found['good_percent']:.3f}% of {found['total']:,}, objective {found['objective']:g}%")
        output.print_table(
            ("window", "total", "bad", "good", "burn rate"),
            [
                (
                    f"{w['minutes']} min",
                    f"{w['total']:,}",
                    f"{w['bad']:,}",
                    f"{w['good_percent']:.3f}%",
                    f"{w['burn_rate']:.2f}",
                )
                for w in found["windows"]
            ],
        )
    return exit_codes.FINDING if found["good_percent"] < found["objective"] else exit_codes.OK


@contextmanager
def _collector(server: Settings, scopes: Sequence[str], cache_size: int, heartbeat_timeout: float) -> Iterator[Any]:
    from edge_redis.exporters.prometheus import EdgeCollector

    with open_services(server, cache_size=cache_size, heartbeat_timeout=heartbeat_timeout) as edge:
        synchronizers = {scope: edge.synchronizer(scope) for scope in scopes}
        worker = edge.worker(edge.client)  # only counts pending changes at the edge, which needs no cloud
        yield EdgeCollector(
            metrics=edge.metrics,
            cache=edge.cache,
            health=edge.health,
            synchronizers=synchronizers,
            edge=edge,
            worker=worker,
        )


def show(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    scope: Scopes = None,
    cache_size: CacheSize = 1000,
    heartbeat_timeout: options.HeartbeatTimeout = 60.0,
) -> int:
    """Print once what `metrics serve` serves.

    Exit code 3: the server could not be read.
    """
    with _collector(
        load_settings(url, password_file, namespace), scope or (), cache_size, heartbeat_timeout
    ) as collector:
        text = collector.exposition()
    print(text, end="")
    return exit_codes.UNAVAILABLE if "\nedge_redis_up 0" in text else exit_codes.OK


def serve(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 9464,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    scope: Scopes = None,
    cache_size: CacheSize = 1000,
    heartbeat_timeout: options.HeartbeatTimeout = 60.0,
) -> int:
    """Serve /metrics over HTTP for Prometheus, until interrupted."""
    from edge_redis._site.stop_request import TERMINAL_SIGNALS, StopRequest
    from edge_redis.exporters.prometheus import Endpoint

    if not 0 <= port <= 65535:  # noqa: PLR2004
        raise InvalidArgumentError(f"port must be 0 to 65535, not {port}")
    server = load_settings(url, password_file, namespace)
    with (
        _collector(server, scope or (), cache_size, heartbeat_timeout) as collector,
        StopRequest(TERMINAL_SIGNALS) as stop,
        Endpoint(collector, port=port, host=host) as endpoint,
    ):
        print(f"http://{host}:{endpoint.port}/metrics  Ctrl-C ends", flush=True)
        while stop.wait(_LONG_SECONDS):
            """Nothing else is to be done."""
    return exit_codes.OK
