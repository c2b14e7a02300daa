"""edge-redis doctor: whether a server is fit for use, and whether a namespace on it is in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from edge_redis.cli import exit_codes, options, output
from edge_redis.cli.connection import load_settings, open_client
from edge_redis.settings._sources import VARIABLES


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            envvar=VARIABLES["namespace"], metavar="NS", help="Check this namespace too, with its own keys alone."
        ),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            envvar=VARIABLES["role"],
            metavar="ROLE",
            help="Check that this user has the rights of a role of `edge-redis acl`.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Check whether a server is fit for use; nothing is left on it.

    With --namespace, also check its layout version, whether a monitor leads and a worker carries the changes, the
    relays, and dead letters. With --role, check the user's rights in the namespace in place of these.

    Exit code 1: something must be changed.
    """
    with open_client(load_settings(url, password_file)) as client:
        findings = _examine(client, namespace) if role is None else _examine_role(client, role, namespace or "default")
    if as_json:
        output.print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            level = output.styled(finding.level, f"{finding.level:<5}")
            print(f"{level} {finding.topic}: {output.printable(finding.text)}")
    return exit_codes.FINDING if any(finding.level == "fail" for finding in findings) else exit_codes.OK


def _examine_role(client: Any, role: str, namespace: str) -> Sequence[Any]:
    from edge_redis._io.doctor import examine_role
    from edge_redis._io.roles import find_role

    return examine_role(client, find_role(role), namespace)


def _examine(client: Any, namespace: str | None) -> Sequence[Any]:
    from edge_redis._io.doctor import examine_client

    if namespace is None:
        return examine_client(client)
    from edge_redis import EdgeRedis
    from edge_redis._site.namespace_check import doctor_tag, examine_namespace

    with EdgeRedis(client, namespace=namespace) as edge:
        return [*examine_client(client, doctor_tag(namespace)), *examine_namespace(edge)]
