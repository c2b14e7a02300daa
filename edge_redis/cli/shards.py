"""edge-redis shards: the number of shards of a namespace's components, and its change."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer

from edge_redis._core.shard_record import ShardRecord
from edge_redis._site import resharding
from edge_redis._site.resharding import ShardsOfComponent
from edge_redis.cli import exit_codes, options, output
from edge_redis.cli.connection import load_settings, open_services

_HEADER = ("component", "shards", "units", "fewest", "most", "change")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("shards")(shards)


def shards(
    to: Annotated[int | None, typer.Option("--to", metavar="N", help="Change the number to N.")] = None,
    component: Annotated[
        Literal["health", "metrics", "sync", "cloud", "cache"] | None, typer.Option(help="Of this component alone.")
    ] = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Show the number of shards of a namespace's components, or change it while they are written and read.

    With --to, a change that ended halfway is completed. Without --component it is that of health, metrics and sync; a
    cloud keeps its number. `--component cache` removes the cache's keys: its number is an option of each process.

    Exit code 1: a change is not complete.
    """
    with open_services(load_settings(url, password_file, namespace)) as edge:
        if to is not None:
            for name in (component,) if component else resharding.CHANGED_TOGETHER:
                _change(edge, name, to)
        found = resharding.list_shards(edge.client, edge.namespace)
    _print([each for each in found if component in (None, each.component)], as_json=as_json)
    return exit_codes.OK if all(each.is_complete for each in found) else exit_codes.FINDING


def _change(edge: Any, component: str, to: int) -> None:
    if component == "cache":
        removed = resharding.drop_cache(edge.client, edge.namespace)
        print(f"cache: {output.count(removed, 'key')} removed; give every process shards={to}", file=sys.stderr)
        return

    def report(record: ShardRecord) -> None:
        step = f"{record.moved} of {record.shards} shards moved" if record.target else f"{record.shards} shards"
        print(f"{component}: {step}", file=sys.stderr, flush=True)

    resharding.change_shards(edge.client, edge.namespace, component, to, report)


def _print(found: Sequence[ShardsOfComponent], *, as_json: bool) -> None:
    if as_json:
        output.print_json([_describe(each) for each in found])
    elif found:
        output.print_table(_HEADER, [_row(each) for each in found])
    else:
        print("nothing was written yet")


def _describe(found: ShardsOfComponent) -> dict[str, Any]:
    record = found.record
    return {
        "component": found.component,
        "shards": record.latest,
        "changed_from": None if record.target is None else record.shards,
        "moved": record.moved,
        "earlier": list(record.earlier),
        "units": found.units,
        "complete": found.is_complete,
    }


def _row(found: ShardsOfComponent) -> tuple[object, ...]:
    record = found.record
    change = "-" if not record.earlier else f"{' and '.join(map(str, record.earlier))} are still read"
    if not found.is_complete:
        change = "not complete: run --to again"
    if record.target is not None:
        change = f"{record.moved} of {record.shards} moved: run --to {record.target} again"
    units = found.units
    return (found.component, record.latest, f"{sum(units):,}", f"{min(units):,}", f"{max(units):,}", change)
