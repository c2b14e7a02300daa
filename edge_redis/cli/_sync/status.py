"""The progress of syncing, and the list of scopes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from operator import itemgetter
from typing import Annotated, Any

import typer

from edge_redis._site.units import format_bytes
from edge_redis.cli import exit_codes, options, output
from edge_redis.cli._sync.opening import open_worker
from edge_redis.cli.connection import load_settings, open_services


def status(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    seconds: Annotated[float, typer.Option(metavar="SECONDS", help="Time over which the rate is measured.")] = 1.0,
    as_json: options.Json = False,
    watch: options.Repeat = None,
) -> int:
    """Show pending changes, their lag, and how many changes a second are pushed.

    Exit code 1: there are dead letters.
    """
    from edge_redis._core import validation

    validation.check_positive("--seconds", seconds)

    def show() -> int:
        found = _measure(worker, seconds)
        if as_json:
            output.print_json(found)
        else:
            _print_status(found)
        return exit_codes.FINDING if found["dead_letters"] else exit_codes.OK

    with open_worker(load_settings(url, password_file, namespace), None, None) as (worker, _):
        return output.repeat(show, watch)


def _measure(worker: Any, seconds: float) -> dict[str, Any]:
    before, began = worker.status(), time.monotonic()
    time.sleep(seconds)
    now = worker.status()
    rate = (now["pushed_total"] - before["pushed_total"]) / (time.monotonic() - began)
    return {**now, "pushed_per_second": round(rate, 3)}


def _print_status(found: Mapping[str, Any]) -> None:
    pending = output.count(found["changes_waiting"], "change")
    print(f"scopes: {found['scopes']:,}, {found['scopes_waiting']:,} with {pending} pending")
    if found["scopes_not_pushed"]:
        print(f"kept at this edge, since no worker pushes them: {output.count(found['scopes_not_pushed'], 'scope')}")
    print(f"pending changes take about {output.count(found['pending_bytes'], 'byte')}")
    print(f"oldest pending change: {output.duration(found['oldest_seconds'])}")
    print(f"pushed: {found['pushed_total']:,} in all, {found['pushed_per_second']:,.1f} a second now")
    _print_link(found["link"], found["time_to_cloud"])
    print(f"dead letters: {found['dead_letters']:,}")
    if found["clone_seen_seconds"] is not None:
        print(f"a clone of this edge wrote {output.duration(found['clone_seen_seconds'])} ago: see `sync new-identity`")


def _print_link(link: Mapping[str, int], times: Mapping[str, float]) -> None:
    if times["count"]:
        p50, p95, p99 = (output.latency(times[f"{name}_seconds"]) for name in ("p50", "p95", "p99"))
        print(f"time to the cloud: median {p50}, 95% within {p95}, 99% within {p99}")
    up, down = (format_bytes(link[f"bytes_{way}"]) for way in ("up", "down"))
    print(f"link: {up} up, {down} down in {output.count(link['round_trips'], 'round trip')}")
    print(f"states up: {link['splices_up']:,} as splices, {link['full_states_up']:,} in full")
    print(
        f"states down: {link['headers_down']:,} as headers, {link['splices_down']:,} as splices, "
        f"{link['full_states_down']:,} in full"
    )


def scopes(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
    watch: options.Repeat = None,
) -> int:
    """List the scopes with version, pending changes and conflicts."""
    header = ("scope", "version", "pending", "conflicts")

    def show() -> int:
        output.print_rows(edge.scopes(), header, itemgetter(*header), nothing="no scopes", as_json=as_json)
        return exit_codes.OK

    with open_services(load_settings(url, password_file, namespace)) as edge:
        return output.repeat(show, watch)
