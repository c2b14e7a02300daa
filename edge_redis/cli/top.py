"""edge-redis top: a site, live in the terminal."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

import typer

from edge_redis.cli import exit_codes, options
from edge_redis.cli.connection import load_settings, open_cloud, open_services
from edge_redis.errors import InvalidArgumentError, MissingExtraError
from edge_redis.settings import Settings


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("top")(top)


def top(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    heartbeat_timeout: options.HeartbeatTimeout = 60.0,
    cloud_url: options.CloudUrl = None,
    cloud_sql: options.CloudSql = None,
    interval: Annotated[
        float, typer.Option(min=0.2, max=60.0, metavar="SECONDS", help="Time between two readings.")
    ] = 1.0,
) -> int:
    """Show nodes, functions, cache, sync and events of a namespace, live.

    Keys: 1 to 5 or Tab choose a view, the arrows a row, Enter opens it, Esc goes back, s sorts, p pauses, q ends.

    Nothing is written to the server. Needs textual, which the extra `top` of edge-redis installs.
    """
    app_class = _load()
    server = load_settings(url, password_file, namespace)
    with open_services(server, heartbeat_timeout=heartbeat_timeout) as edge:
        edge.health.summary()  # fails here when the server is unreachable or refuses
    if not sys.stdout.isatty():
        raise InvalidArgumentError("top needs a terminal: use 'edge-redis status --watch 5', or --json, elsewhere")
    with open_cloud(server, cloud_url, cloud_sql) as cloud:
        options_of_health = {"heartbeat_timeout_seconds": heartbeat_timeout}
        app_class(lambda: _open_site(server, cloud, options_of_health), interval=interval).run()
    return exit_codes.OK


def _load() -> Any:
    try:
        from edge_redis.cli._top.app import TopApp
    except ModuleNotFoundError as error:
        raise MissingExtraError("top needs textual: pip install 'edge-redis[top]'") from error
    return TopApp


@asynccontextmanager
async def _open_site(server: Settings, cloud: Any, health: Any) -> AsyncIterator[Any]:
    from edge_redis._site.reader import SiteReader

    async with AsyncExitStack() as stack:
        edge = await stack.enter_async_context(server.open_async(health=health))
        reader = SiteReader(edge, cloud)
        stack.push_async_callback(reader.close)
        yield reader
