"""The conflicts of a scope."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from edge_redis._site.operator_input import parse_object
from edge_redis.cli import exit_codes, options, output
from edge_redis.cli._sync.opening import Scope, open_scope
from edge_redis.cli.connection import load_settings

_HEADER: Final = ("id", "lost", "version", "time (UTC)", "data")


def conflicts(
    scope: Scope,
    limit: options.Limit = 20,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """List the losing sides of a scope's conflicts.

    Exit code 1: there are some.
    """
    with open_scope(load_settings(url, password_file, namespace), scope) as synchronizer:
        found = synchronizer.conflicts(limit)
    output.print_rows(found, _HEADER, _conflict_row, nothing="no conflicts", as_json=as_json)
    return exit_codes.FINDING if found else exit_codes.OK


def _conflict_row(conflict: Mapping[str, Any]) -> Sequence[object]:
    data = json.dumps(output.jsonable(conflict["data"]))
    return conflict["id"], conflict["lost"], conflict["version"], output.moment(conflict["updated_at"]), data


def resolve(
    scope: Scope,
    conflict_id: Annotated[str, typer.Argument(metavar="ID", help="As `sync conflicts` lists it.")],
    data: Annotated[
        str | None, typer.Option(metavar="JSON", help="Write this. Default: the losing side again.")
    ] = None,
    keys_file: options.KeysFile = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Resolve a conflict by a new change: the losing side, or data given.

    It is written with the settings of the scope at this edge, and signed where the keys file has the key of its origin.
    """
    chosen = None if data is None else parse_object("--data", data)
    with open_scope(load_settings(url, password_file, namespace), scope, keys_file) as synchronizer:
        state = synchronizer.resolve(conflict_id, chosen)
    output.print_outcome(state, f"{output.printable(scope)}: version {state.version}", as_json=as_json)
    return exit_codes.OK
