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

    Of a cluster every master and replica is checked, and of Sentinels the service's master and replicas.

    With --namespace, also check its layout version, whether a monitor leads and a worker carries the changes, the
    relays, and dead letters. With --role, check the user's rights in the namespace in place of these.

    Exit code 1: something must be changed.
    """
    server = load_settings(url, password_file)
    is_cluster = "+cluster:" in (server.url or "")
    # A client of a cluster is refused where a slot has no master, which is for the doctor to find.
    with open_client(server, **({"require_full_coverage": False} if is_cluster else {})) as client:
        findings = _examine(client, namespace) if role is None else _examine_role(client, role, namespace or "default")
    if as_json:
        output.print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            level = output.styled(finding.level, f"{finding.level:<5}")
            node = "" if finding.node is None else f"{finding.node} "
            print(f"{level} {node}{finding.topic}: {output.printable(finding.text)}")
    return exit_codes.FINDING if any(finding.level == "fail" for finding in findings) else exit_codes.OK


def _examine_role(client: Any, role: str, namespace: str) -> Sequence[Any]:
    from edge_redis._io.doctor import examine_role
    from edge_redis._io.roles import find_role

    return examine_role(client, find_role(role), namespace)


def _examine(client: Any, namespace: str | None) -> Sequence[Any]:
    from edge_redis._io.doctor import examine_client

    if namespace is None:
        return examine_client(client)
    from edge_redis import EdgeRedis, StoreError
    from edge_redis._io.doctor import Finding
    from edge_redis._site.namespace_check import examine_namespace
    from edge_redis.cli.failures import describe

    with EdgeRedis(client, namespace=namespace) as edge:
        of_servers = examine_client(client, namespace)
        if any(finding.topic == "mode" for finding in of_servers):  # this client can use nothing here
            return of_servers
        try:
            return [*of_servers, *examine_namespace(edge)]
        except StoreError as error:
            if all(finding.level == "ok" for finding in of_servers):
                raise
            return [*of_servers, Finding("fail", "namespace", f"cannot be read: {describe(error)}")]
