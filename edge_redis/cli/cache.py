"""edge-redis cache: look into a namespace's cache, and change it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer

from edge_redis._site.operator_input import parse_duration
from edge_redis.cli import exit_codes, groups, options, output
from edge_redis.cli.connection import load_settings, open_services
from edge_redis.errors import InvalidArgumentError

Key = Annotated[str, typer.Argument(metavar="KEY", help="The entry's key.")]
_CONFIRM: Final = "Remove every entry of namespace {}?"


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    group = groups.make_group("cache", "Look into the cache, and change it.")
    for command in (stats, get, put, delete, keys, purge, clear, invalidate_tag):
        group.command(command.__name__.replace("_", "-"))(command)
    app.add_typer(group)


def stats(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
    watch: options.Repeat = None,
) -> int:
    """Show size, hits, misses, evictions and further counts."""

    def show() -> int:
        found = edge.cache.stats()
        if as_json:
            output.print_json(found)
        else:
            output.print_table(("figure", "value"), [(name, _figure(name, value)) for name, value in found.items()])
        return exit_codes.OK

    with open_services(load_settings(url, password_file, namespace)) as edge:
        return output.repeat(show, watch)


def _figure(name: str, value: Any) -> str:
    if name == "bytes" and not value:
        return "not counted without max_bytes"
    return {"hit_rate": "{}%", "default_ttl": "{} s"}.get(name, "{}").format(_number(value))


def _number(value: Any) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def get(
    key: Key,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Print an entry's value; with --json its age, TTL and access count too.

    Exit code 1: there is no such entry.
    """
    with open_services(load_settings(url, password_file, namespace)) as edge:
        entry = edge.cache.entry(key)
    if entry is None:
        if as_json:
            output.print_json(None)
        return exit_codes.FINDING
    if as_json:
        output.print_json(entry)
    else:
        value = entry.value
        print(output.printable(value) if isinstance(value, str) else json.dumps(output.jsonable(value)))
    return exit_codes.OK


def put(
    key: Key,
    value: Annotated[str, typer.Argument(help="JSON; with --text, text as it stands.")],
    ttl: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Such as 90s or 2h. Default: the cache's.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    text: Annotated[bool, typer.Option("--text", help="The value is text and no JSON.")] = False,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
) -> int:
    """Store a value."""
    with open_services(load_settings(url, password_file, namespace)) as edge:
        seconds = None if ttl is None else parse_duration(ttl)
        edge.cache.put(key, value if text else _parse_json(value), seconds, tags=tag or ())
    return exit_codes.OK


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"the value is not valid JSON ({error}): quote it, or add --text") from error


def delete(
    keys: Annotated[list[str], typer.Argument(metavar="KEY...")],
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Remove entries.

    Exit code 1: there was none of them.
    """
    with open_services(load_settings(url, password_file, namespace)) as edge:
        removed = edge.cache.delete_many(keys)
    _print_removed(removed, as_json=as_json)
    return exit_codes.OK if removed else exit_codes.FINDING


def _print_removed(removed: int, *, as_json: bool) -> None:
    output.print_outcome({"removed": removed}, f"removed: {removed:,}", as_json=as_json)


def keys(
    prefix: Annotated[str, typer.Option(help="Only keys that begin with this.")] = "",
    limit: options.Limit = 1000,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """List the keys of live entries, in no order."""
    with open_services(load_settings(url, password_file, namespace)) as edge:
        found: list[str] = []
        for key in edge.cache.keys():  # noqa: SIM118 -- the cache is not a dict
            if key.startswith(prefix):
                found.append(key)
            if len(found) == limit:
                break
    if as_json:
        output.print_json(found)
    else:
        for key in found:
            print(output.printable(key))
    return exit_codes.OK


def purge(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Remove the entries that have expired."""
    with open_services(load_settings(url, password_file, namespace)) as edge:
        _print_removed(edge.cache.purge_expired(), as_json=as_json)
    return exit_codes.OK


def clear(
    yes: options.Yes = False,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Remove every entry."""
    if not yes:
        typer.confirm(_CONFIRM.format(output.printable(namespace)), abort=True, err=True)
    with open_services(load_settings(url, password_file, namespace)) as edge:
        _print_removed(edge.cache.clear(), as_json=as_json)
    return exit_codes.OK


def invalidate_tag(
    tag: Annotated[str, typer.Argument(metavar="TAG", help="The tag.")],
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    as_json: options.Json = False,
) -> int:
    """Remove the entries that carry a tag."""
    with open_services(load_settings(url, password_file, namespace)) as edge:
        _print_removed(edge.cache.invalidate_tag(tag), as_json=as_json)
    return exit_codes.OK
