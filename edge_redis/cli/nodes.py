"""edge-redis nodes and node: the fleet, and one node in detail."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from edge_redis.cli import exit_codes, fleet, options, output
from edge_redis.cli.connection import load_settings, open_services

_DAY: Final = 86400.0
_BAR_CHECKS: Final = 60


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("nodes")(nodes)
    app.command("node")(node)


def nodes(
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    heartbeat_timeout: options.HeartbeatTimeout = 60.0,
    only: Annotated[str | None, typer.Option("--verdict", help="Only nodes of this verdict: unhealthy, ...")] = None,
    as_json: options.Json = False,
    watch: options.Repeat = None,
) -> int:
    """List the nodes with verdict, age of the heartbeat and status.

    Exit code 1: a node is unhealthy.
    """
    server = load_settings(url, password_file, namespace)

    def show() -> int:
        found = [each for each in fleet.read_nodes(edge.health) if only is None or each["verdict"] == only]
        if as_json:
            output.print_json({"namespace": namespace, "nodes": found})
        elif found:
            output.print_table(fleet.HEADER, [fleet.node_row(each) for each in found])
        else:
            print("no nodes")
        return exit_codes.FINDING if fleet.count_unhealthy(found) else exit_codes.OK

    with open_services(server, heartbeat_timeout=heartbeat_timeout) as edge:
        return output.repeat(show, watch)


def node(
    name: Annotated[str, typer.Argument(metavar="NODE", help="The node's id.")],
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
    heartbeat_timeout: options.HeartbeatTimeout = 60.0,
    as_json: options.Json = False,
    watch: options.Repeat = None,
) -> int:
    """Show one node: verdict, checks, availability and transitions.

    Exit code 1: it is unhealthy or not registered.
    """
    server = load_settings(url, password_file, namespace)
    with open_services(server, heartbeat_timeout=heartbeat_timeout) as edge:
        return output.repeat(lambda: _show_node(edge.health, name, as_json=as_json), watch)


def _show_node(health: Any, name: str, *, as_json: bool) -> int:
    found = next((each for each in fleet.read_nodes(health) if each["id"] == name), None)
    if found is None:
        from edge_redis.errors import EdgeRedisError

        raise EdgeRedisError(fleet.unregistered(name))
    checks = health.get_history(name, _BAR_CHECKS)
    found |= {
        "recommendation": health.get_recovery_recommendation(name),
        "checks": [{"at": check.checked_at, "healthy": check.healthy, "age_ms": check.latency_ms} for check in checks],
        "availability": {
            "24h": health.availability(name, _DAY),
            "30d": health.availability(name, 30 * _DAY),
        },
        "transitions": health.transitions(10, name),
    }
    if as_json:
        output.print_json(found)
    else:
        _print_node(found)
    return exit_codes.FINDING if found["verdict"] == "unhealthy" else exit_codes.OK


def _print_node(found: dict[str, Any]) -> None:
    title = f" ({found['name']}, {found['location']})" if found["location"] else f" ({found['name']})"
    print(f"{output.printable(found['id'] + title)}: {output.styled(found['verdict'])}")
    print(
        f"heartbeat {output.duration(found['heartbeat_age_seconds'])} ago, "
        f"timeout {output.duration(found['timeout_seconds'])}, reported status {found['status']}"
    )
    print(f"recommendation: {found['recommendation']}")
    bar = "".join("■" if check["healthy"] else "□" for check in found["checks"])
    print(f"checks, oldest first: {bar or 'none yet'}")
    for period, facts in found["availability"].items():
        percent = facts["availability_percent"]
        shown = "unknown" if percent is None else f"{percent:.3f}%"
        print(
            f"availability over {period}: {shown}, {facts['unhealthy_spells']:,} unhealthy spells, "
            f"longest {output.duration(facts['longest_spell_seconds'])}"
        )
    for change in found["transitions"]:
        print(f"{change.at:%Y-%m-%d %H:%M:%S}Z  {change.state}  {output.printable(change.reason)}")
