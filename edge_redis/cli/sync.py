"""edge-redis sync: the state of syncing, scopes, conflicts and dead letters."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from edge_redis.cli import exit_codes, groups, options, output
from edge_redis.cli.connection import Server, open_client, open_cloud, open_services
from edge_redis.errors import InvalidArgumentError

_DAY: Final = 86400.0

Scope = Annotated[str, typer.Argument(metavar="SCOPE", help="The scope.")]


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    group = groups.make_group("sync", "State sync between edge and cloud: progress, scopes, conflicts, dead letters.")
    for command in (
        status,
        scopes,
        get,
        diff,
        pending,
        history,
        conflicts,
        resolve,
        dead_letters,
        replay,
        discard,
        new_identity,
        purge_tombstones,
        release_authority,
    ):
        group.command(command.__name__.replace("_", "-"))(command)
    app.add_typer(group)


@contextmanager
def _open_worker(
    server: Server, cloud_url: str | None, cloud_sql: str | None, keys_file: Path | None = None
) -> Iterator[tuple[Any, Any]]:
    """Open a worker between the edge and its cloud, and the cloud's store."""
    from edge_redis import CloudWorker
    from edge_redis.cli.keys_file import read_keys

    with (
        open_client(server) as edge,
        open_cloud(server, cloud_url, cloud_sql) as cloud,
        CloudWorker(edge, cloud, namespace=server.namespace, keys=read_keys(keys_file)) as worker,
    ):
        yield worker, cloud


def status(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    seconds: Annotated[float, typer.Option(metavar="SECONDS", help="Time over which the rate is measured.")] = 1.0,
    as_json: options.Json = False,
    watch: options.Repeat = None,
) -> int:
    """Show what waits, for how long, and how many changes a second go up.

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

    with _open_worker(Server(url, password_file, namespace), None, None) as (worker, _):
        return output.repeat(show, watch)


def _measure(worker: Any, seconds: float) -> dict[str, Any]:
    before, began = worker.status(), time.monotonic()
    time.sleep(seconds)
    now = worker.status()
    rate = (now["pushed_total"] - before["pushed_total"]) / (time.monotonic() - began)
    return {**now, "pushed_per_second": round(rate, 3)}


def _print_status(found: Mapping[str, Any]) -> None:
    print(f"scopes: {found['scopes']:,}, {found['scopes_waiting']:,} with {found['changes_waiting']:,} changes pending")
    print(f"oldest pending change: {output.duration(found['oldest_seconds'])}")
    print(f"pushed: {found['pushed_total']:,} in all, {found['pushed_per_second']:,.1f} a second now")
    print(f"dead letters: {found['dead_letters']:,}")
    if found["clone_seen_seconds"] is not None:
        print(f"a clone of this edge wrote {output.duration(found['clone_seen_seconds'])} ago: see `sync new-identity`")


def scopes(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
    watch: options.Repeat = None,
) -> int:
    """List the scopes with version, pending changes and conflicts."""

    def show() -> int:
        found = list(edge.scopes())
        if as_json:
            output.print_json(found)
        elif found:
            header = ("scope", "version", "pending", "conflicts")
            output.print_table(header, [tuple(each[name] for name in header) for each in found])
        else:
            print("no scopes")
        return exit_codes.OK

    with open_services(Server(url, password_file, namespace)) as edge:
        return output.repeat(show, watch)


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
    server = Server(url, password_file, namespace)
    state = _read_cloud(server, cloud_url, cloud_sql, scope) if cloud else _read_edge(server, scope)
    if as_json:
        output.print_json(state)
    elif state is not None:
        output.print_json(state.data, indent=2, sort_keys=True)
    return exit_codes.FINDING if state is None else exit_codes.OK


def _read_edge(server: Server, scope: str) -> Any:
    with open_services(server) as edge:
        return edge.synchronizer(scope).get_local_state()


def _read_cloud(server: Server, cloud_url: str | None, cloud_sql: str | None, scope: str) -> Any:
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
    server = Server(url, password_file, namespace)
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
    found = {}
    for name in sorted({*edge, *cloud}):
        sides = {side: data[name] for side, data in (("edge", edge), ("cloud", cloud)) if name in data}
        if len(sides) < 2 or sides["edge"] != sides["cloud"]:  # noqa: PLR2004
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
    with open_services(Server(url, password_file, namespace)) as edge:
        found = edge.synchronizer(scope).get_pending_changes()
    if as_json:
        output.print_json(found)
    elif found:
        output.print_table(
            ("version", "type", "time (UTC)", "delta"),
            [(c["version"], c["type"], f"{c['timestamp']:%Y-%m-%d %H:%M:%S}", c["is_delta"]) for c in found],
        )
    else:
        print("nothing pending")
    return exit_codes.OK


def history(
    scope: Scope,
    limit: options.Limit = 20,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """List the pushes and pulls of a scope, oldest first."""
    with open_services(Server(url, password_file, namespace)) as edge:
        found = edge.synchronizer(scope).sync_history(limit)
    if as_json:
        output.print_json(found)
    elif found:
        output.print_table(
            ("time (UTC)", "direction", "version", "result"),
            [
                (f"{e.timestamp:%Y-%m-%d %H:%M:%S}", e.direction, e.version, "ok" if e.success else e.error)
                for e in found
            ],
        )
    else:
        print("no history")
    return exit_codes.OK


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
    with open_services(Server(url, password_file, namespace)) as edge:
        found = edge.synchronizer(scope).conflicts(limit)
    if as_json:
        output.print_json(found)
    elif found:
        output.print_table(
            ("id", "lost", "version", "time (UTC)", "data"),
            [
                (
                    c["id"],
                    c["lost"],
                    c["version"],
                    f"{c['updated_at']:%Y-%m-%d %H:%M:%S}",
                    json.dumps(output.jsonable(c["data"])),
                )
                for c in found
            ],
        )
    else:
        print("no conflicts")
    return exit_codes.FINDING if found else exit_codes.OK


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
    from edge_redis._site.scope_settings import read_settings_blocking
    from edge_redis.cli.keys_file import read_keys

    keys = read_keys(keys_file) or {}
    with open_services(Server(url, password_file, namespace)) as edge:
        settings = read_settings_blocking(edge, scope)
        key = keys.get(settings.get("origin") or "", (None,))[0]
        state = edge.synchronizer(scope, **settings, signing_key=key).resolve(conflict_id, _parse_object(data))
    if as_json:
        output.print_json(state)
    else:
        print(f"{output.printable(scope)}: version {state.version}")
    return exit_codes.OK


def _parse_object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(f"--data is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidArgumentError("--data must be a JSON object")
    return value


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
    server = Server(url, password_file, namespace)
    clouds = (cloud_url, cloud_sql, keys_file) if replay else (None, None, None)
    with _open_worker(server, *clouds) as (worker, _):
        replayed = worker.replay_dead_letters(limit) if replay else None
        found = worker.dead_letters(limit)
    if as_json:
        output.print_json({"replayed": replayed, "dead_letters": found} if replay else found)
    else:
        _print_dead_letters(found, replayed)
    return exit_codes.FINDING if found else exit_codes.OK


def _print_dead_letters(found: list[Any], replayed: int | None) -> None:
    if replayed is not None:
        print(f"replayed: {replayed:,}")
    if found:
        output.print_table(
            ("id", "scope", "version", "deliveries", "time (UTC)", "error"),
            [
                (d["id"], d["scope"], d["version"], d["deliveries"], f"{d['timestamp']:%Y-%m-%d %H:%M:%S}", d["error"])
                for d in found
            ],
        )
    else:
        print("no dead letters")


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
    with _open_worker(Server(url, password_file, namespace), None, None) as (worker, _):
        removed = worker.discard_dead_letters(ids)
    if as_json:
        output.print_json({"discarded": removed})
    else:
        print(f"discarded: {removed:,}")
    return exit_codes.OK if removed == len(set(ids)) else exit_codes.FINDING


def new_identity(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Give this edge an identity of its own: at an edge that was started from the disk image of another one.

    Pending changes are kept.
    """
    with _open_worker(Server(url, password_file, namespace), None, None) as (worker, _):
        replica_id = worker.new_identity()
    if as_json:
        output.print_json({"replica_id": replica_id})
    else:
        print(f"this edge is now {replica_id}")
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
    with _open_worker(Server(url, password_file, namespace), cloud_url, cloud_sql) as (worker, cloud):
        removed = {"edge": worker.purge_tombstones(days * _DAY), "cloud": cloud.purge_tombstones(days * _DAY)}
    if as_json:
        output.print_json(removed)
    else:
        print(f"purged: {removed['edge']:,} at the edge, {removed['cloud']:,} in the cloud")
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
    with open_cloud(Server(url, password_file, namespace), cloud_url, cloud_sql) as cloud:
        released = cloud.release_authority(scope)
    if as_json:
        output.print_json({"scope": scope, "released": released})
    else:
        print(f"{output.printable(scope)}: {'authority released' if released else 'had no authority'}")
    return exit_codes.OK if released else exit_codes.FINDING
