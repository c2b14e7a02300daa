"""Opens a scope at the edge, or a worker between the edge and the cloud, for the time of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_redis.cli.connection import open_client, open_cloud, open_services
from edge_redis.settings import Settings

Scope = Annotated[str, typer.Argument(metavar="SCOPE", help="The scope.")]


@contextmanager
def open_scope(server: Settings, scope: str, keys_file: Path | None = None) -> Iterator[Any]:
    """Open a scope at the edge with its stored settings, so that a write neither changes them nor is refused.

    What is written is signed where the keys file has the key of the scope's origin.
    """
    from edge_redis._io.blocking_runner import BlockingRunner
    from edge_redis._site.scope_settings import read_settings
    from edge_redis.cli.keys_file import read_keys

    keys = read_keys(keys_file) or {}
    with open_services(server) as edge:
        settings = BlockingRunner(edge.client).run(read_settings(edge.namespace, scope))
        key = keys.get(settings.get("origin") or "", (None,))[0]
        yield edge.synchronizer(scope, **settings, signing_key=key)


@contextmanager
def open_worker(
    server: Settings, cloud_url: str | None, cloud_sql: str | None, keys_file: Path | None = None
) -> Iterator[tuple[Any, Any]]:
    """Open a worker between the edge and its cloud, and the cloud's store."""
    from edge_redis import CloudWorker
    from edge_redis.cli.keys_file import read_keys

    with (
        open_client(server) as edge,
        open_cloud(server, cloud_url, cloud_sql) as cloud,
        CloudWorker(edge, cloud, namespace=server.namespace, keys=read_keys(keys_file)) as worker,
    ):
        yield worker, cloud
