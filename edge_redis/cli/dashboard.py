"""edge-redis dashboard: the operator's page in a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edge_redis.cli import exit_codes, options
from edge_redis.cli.connection import load_settings, with_cloud
from edge_redis.settings._sources import VARIABLES


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dashboard")(dashboard)


def dashboard(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            envvar=VARIABLES["namespace"],
            metavar="NS",
            help="Namespace of a site; repeat it for several. Default: default.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Address to listen on; beyond loopback tokens are needed.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")] = 8321,
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar=VARIABLES["token_file"],
            metavar="FILE",
            help="Operators' tokens, a line `name:token` each (16 characters or more). Without, the page is read-only.",
        ),
    ] = None,
    viewer_token_file: Annotated[
        Path | None,
        typer.Option(
            envvar=VARIABLES["viewer_token_file"], metavar="FILE", help="Tokens of visitors who may read and not act."
        ),
    ] = None,
    cloud_url: options.CloudUrl = None,
    cloud_password_file: options.CloudPasswordFile = None,
    heartbeat_timeout: options.HeartbeatTimeout = 60.0,
) -> int:
    """Serve the operator's page until Ctrl-C or SIGTERM. Nothing is read while no page is open.

    Needs the extra: pip install 'edge-redis[dashboard]'.
    """
    from edge_redis.dashboard._serve import serve
    from edge_redis.dashboard._serve_options import ServeOptions, read_tokens

    server = load_settings(url, password_file)
    served = ServeOptions(
        settings=replace(with_cloud(server, cloud_url, None, cloud_password_file), heartbeat_timeout=heartbeat_timeout),
        namespaces=namespace or ["default"],
        host=host,
        port=port,
        operators=read_tokens(token_file, "operator"),
        viewers=read_tokens(viewer_token_file, "viewer"),
    )
    mode = "operators sign in to act" if served.operators else "read-only"
    serve(served, lambda where: print(f"the page is at {where} ({mode}); Ctrl-C ends it", flush=True))
    return exit_codes.OK
