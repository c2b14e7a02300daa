"""edge-redis cloud: what the cloud keeps for programs that are not edges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from edge_redis.cli import exit_codes, groups, options, output
from edge_redis.cli.connection import load_settings, open_cloud
from edge_redis.settings import Settings

_DAY: Final = 86_400.0


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    group = groups.make_group("cloud", "The cloud's stream of accepted changes, for analytics and other programs.")
    for command in (changes, keep_changes, drop_changes):
        group.command(command.__name__.replace("_", "-"))(command)
    app.add_typer(group)


def changes(
    cloud_url: options.CloudUrl = None,
    cloud_password_file: options.CloudPasswordFile = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
    watch: options.Repeat = None,
) -> int:
    """Show how many accepted changes the cloud keeps, and how far each group of consumers has read them.

    Exit code 1: a group has lost changes, which were removed before it read or acknowledged them.
    """

    def show() -> int:
        found = cloud.accepted_status()
        if as_json:
            output.print_json(found)
        else:
            _print_status(found)
        has_lost = found is not None and any(group["lost"] for group in found["groups"])
        return exit_codes.FINDING if has_lost else exit_codes.OK

    with open_store(load_settings(url, password_file, namespace), cloud_url, cloud_password_file) as cloud:
        return output.repeat(show, watch)


def keep_changes(
    count: Annotated[int, typer.Argument(min=1, metavar="COUNT", help="How many changes to keep, about.")] = 100_000,
    max_age_days: Annotated[
        float | None,
        typer.Option("--max-age-days", metavar="DAYS", help="Remove older ones, about, as others come."),
    ] = None,
    max_body_bytes: Annotated[
        int,
        typer.Option("--max-body-bytes", min=0, metavar="N", help="Keep larger states without their data."),
    ] = 65_536,
    cloud_url: options.CloudUrl = None,
    cloud_password_file: options.CloudPasswordFile = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
) -> int:
    """Keep a stream of accepted changes in the cloud from now on, or change how many.

    Every edge's worker and every program that writes in the cloud obeys at once.
    """
    age = None if max_age_days is None else max_age_days * _DAY
    with open_store(load_settings(url, password_file, namespace), cloud_url, cloud_password_file) as cloud:
        cloud.keep_accepted(count, max_age_seconds=age, max_body_bytes=max_body_bytes)
    print(f"the cloud keeps about {output.count(count, 'accepted change')}")
    return exit_codes.OK


def drop_changes(
    cloud_url: options.CloudUrl = None,
    cloud_password_file: options.CloudPasswordFile = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
) -> int:
    """Keep accepted changes no more, and remove those that there are, with all groups.

    Exit code 1: none were kept.
    """
    with open_store(load_settings(url, password_file, namespace), cloud_url, cloud_password_file) as cloud:
        dropped = cloud.drop_accepted()
    print("accepted changes are kept no more" if dropped else "none were kept")
    return exit_codes.OK if dropped else exit_codes.FINDING


@contextmanager
def open_store(edge: Settings, cloud_url: str | None, password_file: Path | None) -> Iterator[Any]:
    """Open the cloud's store, which is one in Redis.

    Raises:
        InvalidArgumentError: it is an SQL database.

    """
    from edge_redis.errors import InvalidArgumentError

    with open_cloud(edge, cloud_url, None, password_file) as store:
        if not hasattr(store, "accepted_status"):
            raise InvalidArgumentError("an SQL cloud keeps no stream of accepted changes: query its tables")
        yield store


def _print_status(found: Any) -> None:
    if found is None:
        print("no accepted changes are kept: see `edge-redis cloud keep-changes`")
        return
    kept = f"about {found['max_length']:,} are kept" if found["is_kept"] else "no more are kept"
    print(f"{output.count(found['length'], 'accepted change')}, {found['accepted_total']:,} ever; {kept}")
    header = ("group", "consumers", "lag", "pending", "lost")
    rows = [{name: group[name] for name in header} for group in found["groups"]]
    output.print_rows(rows, header, lambda row: tuple(row.values()), nothing="no group reads them", as_json=False)
