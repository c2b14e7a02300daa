"""edge-redis doctor: whether a server is fit for use."""

from __future__ import annotations

import typer

from edge_redis.cli import exit_codes, options, output
from edge_redis.cli.connection import Server, open_client


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    as_json: options.Json = False,
) -> int:
    """Check whether a server is fit for use; nothing is left on it.

    Exit code 1: something must be changed.
    """
    from edge_redis._io.doctor import examine_client

    with open_client(Server(url, password_file)) as client:
        findings = examine_client(client)
    if as_json:
        output.print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            print(f"{output.styled(finding.level, f'{finding.level:<5}')} {finding.topic}: {finding.text}")
    return exit_codes.FINDING if any(finding.level == "fail" for finding in findings) else exit_codes.OK
