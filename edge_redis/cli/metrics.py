"""edge-redis metrics: what is in a namespace, for Prometheus: served over HTTP, or printed once."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis._site.stop_request import TERMINAL_SIGNALS, StopRequest
from edge_redis.cli import options

if TYPE_CHECKING:
    from edge_redis.exporters.prometheus import EdgeCollector


_LONG_SECONDS: Final = 3600.0


def add_to(commands: Any) -> None:
    """Add the commands."""
    parser: argparse.ArgumentParser = commands.add_parser("metrics", help="export a namespace to Prometheus")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    serve = actions.add_parser("serve", help="serve /metrics over HTTP until interrupted")
    serve.add_argument("--port", type=int, default=9464, help="0 takes a free one (default: 9464)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    serve.set_defaults(run=run_serve)
    show = actions.add_parser("show", help="print what would be served, once")
    show.set_defaults(run=run_show)
    for action in (serve, show):
        _add_sources(action)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    options.add_server(parser)
    options.add_namespace(parser, default="default", otherwise="default")
    parser.add_argument("--scope", action="append", default=[], help="a scope whose sync is exported; may be repeated")
    parser.add_argument("--cache-size", type=int, default=1000, metavar="N", help="max_size of the site's cache")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="heartbeat timeout of the site's nodes"
    )


@contextmanager
def _collector(arguments: argparse.Namespace) -> Iterator[EdgeCollector]:
    from edge_redis.exporters.prometheus import EdgeCollector  # noqa: PLC0415 -- prometheus_client is an extra

    of_cache, of_health = {"max_size": arguments.cache_size}, {"heartbeat_timeout_seconds": arguments.timeout}
    named = {"namespace": arguments.namespace, "cache": of_cache, "health": of_health}
    with EdgeRedis.from_url(arguments.url, **named) as edge:
        synchronizers = {scope: edge.synchronizer(scope) for scope in arguments.scope}
        yield EdgeCollector(metrics=edge.metrics, cache=edge.cache, health=edge.health, synchronizers=synchronizers)


def run_show(arguments: argparse.Namespace) -> int:
    """Print the exposition; return 0, or 1 where the store could not be read."""
    with _collector(arguments) as collector:
        text = collector.exposition()
    print(text, end="")
    return 1 if "\nedge_redis_up 0" in text else 0


def run_serve(arguments: argparse.Namespace) -> int:
    """Serve until interrupted."""
    with _collector(arguments) as collector:
        from edge_redis.exporters.prometheus import Endpoint  # noqa: PLC0415 -- prometheus_client is an extra

        with (
            StopRequest(TERMINAL_SIGNALS) as stop,
            Endpoint(collector, port=arguments.port, host=arguments.host) as endpoint,
        ):
            print(f"http://{arguments.host}:{endpoint.port}/metrics  Ctrl-C ends", flush=True)
            while stop.wait(_LONG_SECONDS):
                """Nothing else is to be done here."""
    return 0
