"""The commands of `edge-redis`. A command's module is imported when the command runs or is asked about.

Importing all of them, and building all their options, takes several times as long as the help that lists them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from importlib import import_module
from typing import Any, Final, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup


class Command(NamedTuple):
    """A command or a group: the module that adds it, and its line in the list of commands."""

    module: str
    summary: str


COMMANDS: Final = {
    "up": Command("up", "Start a server, edge processes, a cloud worker and a monitor, and show what they do."),
    "worker": Command(
        "worker",
        "Carry changes between edge and cloud until SIGTERM or Ctrl-C. Any number of workers share the load.",
    ),
    "agent": Command(
        "agent",
        "Register a node and send heartbeats with the host's resources, until SIGTERM, Ctrl-C or the end of COMMAND.",
    ),
    "monitor": Command(
        "monitor",
        "Watch the nodes of a namespace: one monitor of any number leads, the others stand by and take over.",
    ),
    "status": Command("status", "Show nodes, metrics, cache and sync of a namespace."),
    "top": Command("top", "Show nodes, functions, cache, sync and events of a namespace, live."),
    "nodes": Command("nodes", "List the nodes with verdict, age of the heartbeat and status."),
    "node": Command("nodes", "Show one node: verdict, checks, availability and transitions."),
    "maintenance": Command(
        "maintenance", "Put a node in maintenance: it is checked as before, and no notification is sent."
    ),
    "events": Command("events", "List the newest transitions, oldest first; with --json one object a line."),
    "dashboard": Command(
        "dashboard",
        "Serve the operator's page until Ctrl-C or SIGTERM. Nothing is read while no page is open.",
    ),
    "doctor": Command("doctor", "Check whether a server is fit for use; nothing is left on it."),
    "acl": Command(
        "acl",
        "Print an ACL file: a user for each role of a namespace "
        "(edge, worker, monitor, dashboard, exporter, operator).",
    ),
    "bench": Command(
        "bench",
        "Measure calls of the services beside the plain commands of redis-py, in turns, with one connection.",
    ),
    "completion": Command(
        "completion", "Print a completion script, for the shell to read: source <(edge-redis completion bash)."
    ),
    "cache": Command("cache", "Look into the cache, and change it."),
    "metrics": Command("metrics", "Counts and latencies of functions, and their export to Prometheus."),
    "sync": Command("sync", "State sync between edge and cloud: progress, scopes, conflicts, dead letters."),
    "cloud": Command("cloud", "The cloud's stream of accepted changes, for analytics and other programs."),
    "namespace": Command("namespace", "The namespaces on a server."),
    "shards": Command(
        "shards",
        "Show the number of shards of a namespace's components, or change it while they are written and read.",
    ),
}


class CommandTable(Mapping[str, Any]):
    """The commands by name, each loaded when it is looked up."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded |= _load(COMMANDS[name].module)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _load(module: str) -> dict[str, Any]:
    """Return the commands that a module adds."""
    app = typer.Typer(rich_markup_mode=None)
    import_module(f"edge_redis.cli.{module}").add_to(app)
    commands: dict[str, Any] = import_module("typer.main").get_group(app).commands
    _keep_summaries(commands)
    return commands


def _keep_summaries(commands: Mapping[str, Any]) -> None:
    """List each command with the first paragraph of its help, which would be cut to fit one line otherwise."""
    for command in commands.values():
        command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
        _keep_summaries(getattr(command, "commands", {}))


class LazyGroup(TyperGroup):
    """The group of all commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = cast("Any", CommandTable())

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, for which the commands' summaries suffice."""
        outline = copy(self)
        outline.commands = {name: TyperCommand(name, short_help=each.summary) for name, each in COMMANDS.items()}
        TyperGroup.format_help(outline, ctx, formatter)
