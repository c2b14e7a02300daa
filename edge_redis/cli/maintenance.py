"""edge-redis maintenance: put a node in maintenance, or end it."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_redis._site.operator_input import parse_duration
from edge_redis.cli import exit_codes, fleet, options, output
from edge_redis.cli.connection import load_settings, open_services
from edge_redis.errors import InvalidArgumentError, UnknownNodeError


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("maintenance")(maintenance)


def maintenance(
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node's id.")],
    duration: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="Ends by itself after so long, such as 2h or 30m.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Shown in transitions and notifications.")] = "",
    end: Annotated[bool, typer.Option("--end", help="End the node's maintenance.")] = False,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Put a node in maintenance: it is checked as before, and no notification is sent.

    Exit code 1: there was none to end.
    """
    if end and (duration is not None or reason):
        raise InvalidArgumentError("--end takes neither --for nor --reason")
    seconds = None if duration is None else parse_duration(duration)
    with open_services(load_settings(url, password_file, namespace)) as edge:
        ended = edge.health.end_maintenance(node) if end else None
        if not end:
            try:
                edge.health.set_maintenance(node, seconds, reason)
            except UnknownNodeError:
                raise UnknownNodeError(fleet.unregistered(node)) from None
    if as_json:
        output.print_json(
            {"node": node, "in_maintenance": not end, "ended": ended, "seconds": seconds, "reason": reason}
        )
    elif end:
        print(
            f"{output.printable(node)}: maintenance ended"
            if ended
            else f"{output.printable(node)}: was not in maintenance"
        )
    else:
        until = "until it is ended" if seconds is None else f"for {output.duration(seconds)}"
        print(f"{output.printable(node)}: in maintenance {until}")
    return exit_codes.FINDING if ended is False else exit_codes.OK
