"""edge-redis status: what is in a namespace now."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis.cli import options


def add_to(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser("status", help="show nodes, metrics and cache of a namespace")
    options.add_server(parser)
    options.add_namespace(parser, default="default", otherwise="default")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is there; return 0."""
    with EdgeRedis.from_url(arguments.url, namespace=arguments.namespace) as services:
        for node in services.health.nodes():
            print(f"node {node.id}: {node.status}, last heartbeat {node.last_heartbeat.isoformat()}, {node.location}")
        _print("health", services.health.summary())
        _print("metrics", services.metrics.summary())
        _print("cache", services.cache.stats())
    return 0


def _print(title: str, facts: Mapping[str, object]) -> None:
    print(f"{title}: {', '.join(f'{name} {value}' for name, value in facts.items())}")
