"""edge-redis events: the transitions of nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_redis.cli import exit_codes, options
from edge_redis.cli.connection import load_settings, open_services
from edge_redis.cli.transition_lines import print_transition


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("events")(events)


def events(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    node: Annotated[str | None, typer.Option(metavar="ID", help="Only those of this node.")] = None,
    limit: options.Limit = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for further ones, until Ctrl-C.")] = False,
    as_json: options.Json = False,
) -> int:
    """List the newest transitions, oldest first; with --json one object a line."""
    with open_services(load_settings(url, password_file, namespace)) as edge:
        found = edge.health.transitions(limit, node)
        for change in found:
            print_transition(change, as_json=as_json)
        if follow:
            for change in edge.health.watch(found[-1].position if found else None, node_id=node):
                print_transition(change, as_json=as_json)
        if not found and not as_json:
            print("no events")
    return exit_codes.OK
