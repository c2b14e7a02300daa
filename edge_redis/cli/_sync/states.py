"""A scope's data at both ends, its outbox and its history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from edge_redis.cli import exit_codes, options, output
from edge_redis.cli._sync.opening import Scope, open_scope
from edge_redis.cli.connection import load_settings, open_cloud
from edge_redis.settings import Settings

_PENDING_HEADER: Final = ("version", "type", "time (UTC)", "delta")
_HISTORY_HEADER: Final = ("time (UTC)", "direction", "version", "result")


def get(
    scope: Scope,
    cloud: Annotated[bool, typer.Option("--cloud", help="The cloud's state and not the edge's.")] = False,
    cloud_url: options.CloudUrl = None,
    cloud_sql: options.CloudSql = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Print a scope's data; with --json version, checksum and origin too.

    Exit code 1: there is no such scope.
    """
    server = load_settings(url, password_file, namespace)
    state = _read_cloud(server, cloud_url, cloud_sql, scope) if cloud else _read_edge(server, scope)
    if as_json:
        output.print_json(state)
    elif state is not None:
        output.print_json(state.data, indent=2, sort_keys=True)
    return exit_codes.FINDING if state is None else exit_codes.OK


def _read_edge(server: Settings, scope: str) -> Any:
    with open_scope(server, scope) as synchronizer:
        return synchronizer.get_local_state()


def _read_cloud(server: Settings, cloud_url: str | None, cloud_sql: str | None, scope: str) -> Any:
    with open_cloud(server, cloud_url, cloud_sql) as store:
        return store.get(scope)


def diff(
    scope: Scope,
    cloud_url: options.CloudUrl = None,
    cloud_sql: options.CloudSql = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Compare a scope at the edge and in the cloud, field by field.

    Exit code 1: they differ.
    """
    server = load_settings(url, password_file, namespace)
    edge, cloud = _read_edge(server, scope), _read_cloud(server, cloud_url, cloud_sql, scope)
    fields = _compare(edge.data if edge else {}, cloud.data if cloud else {})
    versions = {"edge": edge.version if edge else None, "cloud": cloud.version if cloud else None}
    if as_json:
        output.print_json({"scope": scope, "versions": versions, "fields": fields})
    else:
        print(f"edge version {versions['edge'] or '-'}, cloud version {versions['cloud'] or '-'}")
        for name, sides in fields.items():
            for sign, side in (("-", "edge"), ("+", "cloud")):
                if side in sides:
                    print(f"{sign} {output.printable(name)}: {json.dumps(output.jsonable(sides[side]))}")
        if not fields:
            print("equal")
    return exit_codes.FINDING if fields or (edge is None) != (cloud is None) else exit_codes.OK


def _compare(edge: Mapping[str, Any], cloud: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the fields that differ, each with its value at the sides that have it."""
    from edge_redis._core.codec import is_same_value

    found = {}
    for name in sorted({*edge, *cloud}):
        sides = {side: data[name] for side, data in (("edge", edge), ("cloud", cloud)) if name in data}
        if len(sides) < 2 or not is_same_value(sides["edge"], sides["cloud"]):  # noqa: PLR2004
            found[name] = sides
    return found


def pending(
    scope: Scope,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """List the changes of a scope that the cloud has not confirmed, oldest first."""
    with open_scope(load_settings(url, password_file, namespace), scope) as synchronizer:
        found = synchronizer.get_pending_changes()
    output.print_rows(found, _PENDING_HEADER, _pending_row, nothing="nothing pending", as_json=as_json)
    return exit_codes.OK


def _pending_row(change: Mapping[str, Any]) -> Sequence[object]:
    return change["version"], change["type"], output.moment(change["timestamp"]), change["is_delta"]


def history(
    scope: Scope,
    limit: options.Limit = 20,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """List the pushes and pulls of a scope, oldest first."""
    with open_scope(load_settings(url, password_file, namespace), scope) as synchronizer:
        found = synchronizer.sync_history(limit)
    output.print_rows(found, _HISTORY_HEADER, _history_row, nothing="no history", as_json=as_json)
    return exit_codes.OK


def _history_row(event: Any) -> Sequence[object]:
    return output.moment(event.timestamp), event.direction, event.version, "ok" if event.success else event.error
