"""edge-redis agent: register this host as a node, send heartbeats, and run a command under metrics."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Annotated, Any

import typer

from edge_redis.cli import exit_codes, options
from edge_redis.cli.connection import load_settings, open_services


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("agent", context_settings={"allow_interspersed_args": False})(agent)


def agent(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND...]", help="Run this once, tracked; end with its exit code.")
    ] = None,
    node: Annotated[str | None, typer.Option(metavar="ID", help="The node's id. Default: the host's name.")] = None,
    name: Annotated[str, typer.Option(help="Name that people read. Default: the id.")] = "",
    location: Annotated[str, typer.Option(help="Such as `hall 7`.")] = "",
    capability: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    interval: Annotated[float, typer.Option(min=0.05, metavar="SECONDS", help="Between two heartbeats.")] = 10.0,
    function: Annotated[
        str | None, typer.Option(metavar="ID", help="Name of COMMAND in the metrics. Default: its file name.")
    ] = None,
    url: options.Url = None,
    password_file: options.PasswordFile = None,
    namespace: options.Namespace = "default",
) -> int:
    """Register a node and send heartbeats with the host's resources, until SIGTERM, Ctrl-C or the end of COMMAND.

    Needs psutil, which the extra `agent` of edge-redis installs.
    """
    from edge_redis import EdgeNode
    from edge_redis._site import telemetry  # noqa: F401 -- without psutil this fails before the node is registered

    node_id = node or os.uname().nodename
    described = EdgeNode(node_id, name or node_id, location, capabilities=list(capability or ()))
    with open_services(load_settings(url, password_file, namespace)) as edge:
        edge.health.register(described)
        if command:
            return _run_tracked(edge, described, command, function or os.path.basename(command[0]), interval)  # noqa: PTH119
        return _send_heartbeats(edge, described, interval)


def _beat(edge: Any, node: Any, functions: int) -> None:
    """Send a heartbeat with the host's resources; an outage of the server is waited for."""
    import logging

    from edge_redis._site import telemetry
    from edge_redis.errors import StoreUnavailableError

    try:
        edge.health.heartbeat(node, resources=telemetry.resource_usage(telemetry.sample(), functions))
    except StoreUnavailableError as error:
        logging.getLogger("edge_redis").warning("heartbeat not sent: %s", error)


def _send_heartbeats(edge: Any, node: Any, interval: float) -> int:
    from edge_redis._site.stop_request import TERMINAL_SIGNALS, StopRequest

    with StopRequest(TERMINAL_SIGNALS) as stop:
        print(f"node {node.id}: a heartbeat every {interval:g} s", flush=True)
        _beat(edge, node, 0)
        while stop.wait(interval):
            _beat(edge, node, 0)
    return exit_codes.OK


def _run_tracked(edge: Any, node: Any, command: list[str], function: str, interval: float) -> int:
    from edge_redis import InvocationRecord
    from edge_redis.errors import EdgeRedisError

    _beat(edge, node, 1)
    started = time.perf_counter()
    try:
        process = subprocess.Popen(command)  # noqa: S603 -- the operator's own command
    except OSError as error:
        raise EdgeRedisError(f"the command cannot be started: {error}") from error
    code = _wait(process, lambda: _beat(edge, node, 1), interval)
    spent_ms = (time.perf_counter() - started) * 1000
    error_text = "" if code == 0 else f"exit code {code}"
    edge.metrics.record(InvocationRecord(function, node.id, spent_ms, code == 0, error=error_text))
    return code if code >= 0 else 128 - code


def _wait(process: subprocess.Popen[bytes], beat: Any, interval: float) -> int:
    """Return the command's exit code; heartbeats go on while it runs, and signals are passed to it."""
    import signal

    from edge_redis._site.stop_request import StopRequest

    with StopRequest([signal.SIGTERM, signal.SIGHUP]) as stop:
        while True:
            try:
                return process.wait(interval)
            except subprocess.TimeoutExpired:
                beat()
            except KeyboardInterrupt:
                continue  # the terminal sent it to the command too
            if stop.is_requested:
                process.send_signal(stop.first_signal or signal.SIGTERM)
