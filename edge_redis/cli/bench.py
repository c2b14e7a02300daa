"""edge-redis bench: the cost of the services on a server, beside that of plain commands."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_redis.cli import exit_codes, options, output
from edge_redis.cli.connection import load_settings, open_client


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    seconds: Annotated[float, typer.Option(min=0.01, metavar="SECONDS", help="Duration of all measurements.")] = 3.0,
    max_ratio: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="RATIO", help="Exit with 1 if an operation takes longer, in times its command."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Measure calls of the services beside the plain commands of redis-py, in turns, with one connection.

    Writes to a new namespace, which is removed at the end.

    Exit code 1: an operation exceeds --max-ratio.
    """
    from edge_redis._site.bench import compare, own_namespace

    with open_client(load_settings(url, password_file)) as client, own_namespace(client) as edge:
        found = list(compare(edge, seconds))
    if as_json:
        output.print_json(
            [
                {
                    "operation": each.operation,
                    "command": each.command,
                    "service_us": round(each.service_us, 1),
                    "command_us": round(each.command_us, 1),
                    "ratio": round(each.ratio, 3),
                    "calls": each.calls,
                }
                for each in found
            ]
        )
    else:
        output.print_table(
            ("operation", "time", "ratio", "command", "its time", "calls"),
            [
                (
                    each.operation,
                    f"{each.service_us:,.0f} us",
                    f"{each.ratio:.2f}",
                    each.command,
                    f"{each.command_us:,.0f} us",
                    f"{each.calls:,}",
                )
                for each in found
            ],
        )
    is_slow = max_ratio is not None and any(each.ratio > max_ratio for each in found)
    return exit_codes.FINDING if is_slow else exit_codes.OK
