"""The changes that workers gave up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from edge_redis.cli import exit_codes, options, output
from edge_redis.cli._sync.opening import open_worker
from edge_redis.cli.connection import load_settings

_HEADER: Final = ("id", "scope", "version", "deliveries", "time (UTC)", "error")


def dead_letters(
    limit: options.Limit = 100,
    replay: Annotated[bool, typer.Option("--replay", help="Try them once more first, as `sync replay` does.")] = False,
    cloud_url: options.CloudUrl = None,
    cloud_sql: options.CloudSql = None,
    keys_file: options.KeysFile = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """List the oldest changes that the worker gave up.

    Exit code 1: there are some.
    """
    server = load_settings(url, password_file, namespace)
    clouds = (cloud_url, cloud_sql, keys_file) if replay else (None, None, None)
    with open_worker(server, *clouds) as (worker, _):
        replayed = worker.replay_dead_letters(limit) if replay else None
        found = worker.dead_letters(limit)
    if as_json and replay:
        output.print_json({"replayed": replayed, "dead_letters": found})
    else:
        if replay:
            print(f"replayed: {replayed:,}")
        output.print_rows(found, _HEADER, _letter_row, nothing="no dead letters", as_json=as_json)
    return exit_codes.FINDING if found else exit_codes.OK


def _letter_row(letter: Mapping[str, Any]) -> Sequence[object]:
    names = ("id", "scope", "version", "deliveries")
    return *(letter[name] for name in names), output.moment(letter["timestamp"]), letter["error"]


def replay(
    limit: options.Limit = 100,
    cloud_url: options.CloudUrl = None,
    cloud_sql: options.CloudSql = None,
    keys_file: options.KeysFile = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Try the oldest dead letters once more; those that fail again stay.

    Exit code 1: some are left.
    """
    return dead_letters(limit, True, cloud_url, cloud_sql, keys_file, url, password_file, namespace, as_json)  # noqa: FBT003


def discard(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As `sync dead-letters` lists them.")],
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Remove dead letters for good.

    Exit code 1: some of them were not there.
    """
    with open_worker(load_settings(url, password_file, namespace), None, None) as (worker, _):
        removed = worker.discard_dead_letters(ids)
    output.print_outcome({"discarded": removed}, f"discarded: {removed:,}", as_json=as_json)
    return exit_codes.OK if removed == len(set(ids)) else exit_codes.FINDING
