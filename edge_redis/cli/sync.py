"""edge-redis sync: how far syncing has come, and the changes that were given up."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._io.connect import connect
from edge_redis._services.blocking.cloud import RedisCloudStore
from edge_redis._services.blocking.worker import CloudWorker
from edge_redis._sync.tombstones import TOMBSTONE_SECONDS
from edge_redis.cli import options

_SQL: Final = ("sqlite:", "postgresql:", "postgresql+")


def add_to(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser("sync", help="show how far syncing is, and its dead letters")
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    status = _command(what, "status", "show what waits, for how long, and how many changes a second go up")
    status.add_argument("--seconds", type=float, default=1.0, help="how long to measure (default: 1)")
    status.set_defaults(run=_status)
    letters = _command(what, "dead-letters", "list the changes that were given up, or try them once more")
    letters.add_argument("--replay", action="store_true", help="try them once more; those that fail again stay")
    letters.add_argument("--limit", type=int, default=100, metavar="N", help="the oldest N (default: 100)")
    letters.add_argument(
        "--cloud-url",
        metavar="URL",
        help="the cloud's server or SQL database, for --replay (default: the edge's server)",
    )
    letters.set_defaults(run=_dead_letters)
    forget = _command(what, "collect", "forget the scopes that were deleted long ago, at the edge and in the cloud")
    days = TOMBSTONE_SECONDS / 86_400
    forget.add_argument("--days", type=float, default=days, help=f"since when deleted (default: {days:g})")
    forget.add_argument(
        "--cloud-url", metavar="URL", help="the cloud's server or SQL database (default: the edge's server)"
    )
    forget.set_defaults(run=_collect)


def _command(what: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = what.add_parser(name, help=text, description=text)
    options.add_server(parser)
    options.add_namespace(parser, default="default", otherwise="default")
    return parser


def _status(arguments: argparse.Namespace) -> int:
    seconds = validation.positive("--seconds", arguments.seconds)
    with connect(arguments.url) as edge, CloudWorker(edge, edge, namespace=arguments.namespace) as worker:
        before, began = worker.status(), time.monotonic()
        time.sleep(seconds)
        now = worker.status()
        rate = (now["pushed_total"] - before["pushed_total"]) / (time.monotonic() - began)
    print(f"scopes: {now['scopes']:,}, of which {now['scopes_waiting']:,} wait with {now['changes_waiting']:,} changes")
    print(f"waiting for: {now['oldest_seconds']:.1f} s at most")
    print(f"pushed: {now['pushed_total']:,} in all, {rate:,.1f} a second now")
    print(f"dead letters: {now['dead_letters']:,}")
    return 0


@contextmanager
def _cloud(url: str | None, namespace: str) -> Iterator[Any]:
    """Give the store of the cloud at ``url``."""
    if url is None or not url.startswith(_SQL):
        with connect(url) as client, RedisCloudStore(client, namespace=namespace) as redis_store:
            yield redis_store
        return
    from edge_redis.cloudstores.sql import SqlCloudStore  # noqa: PLC0415 -- an extra that Redis does without

    with SqlCloudStore(url, namespace=namespace) as store:
        yield store


def _dead_letters(arguments: argparse.Namespace) -> int:
    """List or replay; return 1 where some are left after a replay."""
    with (
        connect(arguments.url) as edge,
        _cloud(arguments.cloud_url or arguments.url, arguments.namespace) as cloud,
        CloudWorker(edge, cloud, namespace=arguments.namespace) as worker,
    ):
        if arguments.replay:
            print(f"replayed: {worker.replay_dead_letters(arguments.limit):,}")
        left = worker.dead_letters(arguments.limit)
    for letter in left:
        at = letter["timestamp"].isoformat(timespec="seconds")
        facts = f"version {letter['version']}, delivered {letter['deliveries']} times"
        print(f"{letter['id']} {at} {letter['scope']!r} {facts}: {letter['error']}")
    if not left:
        print("no dead letters")
    return 1 if arguments.replay and left else 0


def _collect(arguments: argparse.Namespace) -> int:
    seconds = validation.non_negative("--days", arguments.days) * 86_400
    with (
        connect(arguments.url) as edge,
        _cloud(arguments.cloud_url or arguments.url, arguments.namespace) as cloud,
        CloudWorker(edge, cloud, namespace=arguments.namespace) as worker,
    ):
        purged = worker.purge_tombstones(seconds), cloud.purge_tombstones(seconds)
        print("forgotten: {:,} at the edge, {:,} in the cloud".format(*purged))
    return 0
