"""Occasional work: identities, records of deletions, authorities."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from edge_redis.cli import exit_codes, options, output
from edge_redis.cli._sync.opening import Scope, open_worker
from edge_redis.cli.connection import load_settings, open_cloud

_DAY: Final = 86400.0


def new_identity(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Give this edge an identity of its own: at an edge that was started from the disk image of another one.

    Pending changes are kept.
    """
    with open_worker(load_settings(url, password_file, namespace), None, None) as (worker, _):
        replica_id = worker.new_identity()
    output.print_outcome({"replica_id": replica_id}, f"this edge is now {replica_id}", as_json=as_json)
    return exit_codes.OK


def purge_tombstones(
    days: Annotated[float, typer.Option(min=0.0, help="Minimum age of a deletion, in days.")] = 10.0,
    cloud_url: options.CloudUrl = None,
    cloud_sql: options.CloudSql = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Remove the records of deleted scopes, at the edge and in the cloud."""
    with open_worker(load_settings(url, password_file, namespace), cloud_url, cloud_sql) as (worker, cloud):
        removed = {"edge": worker.purge_tombstones(days * _DAY), "cloud": cloud.purge_tombstones(days * _DAY)}
    output.print_outcome(
        removed, f"purged: {removed['edge']:,} at the edge, {removed['cloud']:,} in the cloud", as_json=as_json
    )
    return exit_codes.OK


def release_authority(
    scope: Scope,
    cloud_url: options.CloudUrl = None,
    cloud_sql: options.CloudSql = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Let another edge become the LOCAL_WINS authority of a scope.

    Exit code 1: it had none.
    """
    with open_cloud(load_settings(url, password_file, namespace), cloud_url, cloud_sql) as cloud:
        released = cloud.release_authority(scope)
    output.print_outcome(
        {"scope": scope, "released": released},
        f"{output.printable(scope)}: {'authority released' if released else 'had no authority'}",
        as_json=as_json,
    )
    return exit_codes.OK if released else exit_codes.FINDING
