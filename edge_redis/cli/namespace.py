"""edge-redis namespace: list the namespaces on a server, and remove one."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_redis.cli import exit_codes, groups, keyspace, options, output
from edge_redis.cli.connection import load_settings, open_client, open_services


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    group = groups.make_group("namespace", "The namespaces on a server.")
    group.command("list")(list_namespaces)
    group.command("drop")(drop)
    app.add_typer(group)


def list_namespaces(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    as_json: options.Json = False,
) -> int:
    """List the namespaces on a server, with the number of their keys."""
    with open_client(load_settings(url, password_file)) as client:
        found = keyspace.count_keys(client)
    if as_json:
        output.print_json([{"namespace": name, "keys": count} for name, count in sorted(found.items())])
    elif found:
        output.print_table(("namespace", "keys"), [(name, f"{count:,}") for name, count in sorted(found.items())])
    else:
        print("no namespaces")
    return exit_codes.OK


def drop(
    name: Annotated[str, typer.Argument(metavar="NS", help="The namespace.")],
    yes: options.Yes = False,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    as_json: options.Json = False,
) -> int:
    """Remove every key of a namespace, changes that wait for the cloud included.

    Exit code 1: there was none.
    """
    if not yes:
        typer.confirm(f"Remove every key of namespace {output.printable(name)}?", abort=True, err=True)
    with open_services(load_settings(url, password_file, name)) as edge:
        removed = edge.drop_namespace()
    output.print_outcome({"namespace": name, "removed": removed}, f"removed: {removed:,} keys", as_json=as_json)
    return exit_codes.OK if removed else exit_codes.FINDING
