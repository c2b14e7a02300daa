"""edge-redis up: the demo site."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_redis.cli import exit_codes
from edge_redis.errors import EdgeRedisError


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up")(up)


def up(
    url: Annotated[
        str | None, typer.Option(help="A running server. Default: one is started, and ends with the command.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(metavar="NS", help="Default: a new one, removed at the end.")] = None,
    data_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the started server's data here.")] = None,
    nodes: Annotated[int, typer.Option(metavar="N", help="Edge processes, without --replay.")] = 3,
    replay: Annotated[Path | None, typer.Option(metavar="FILE", help="Replay a recording, one process a node.")] = None,
    speed: Annotated[float, typer.Option(help="Recorded seconds replayed in a second.")] = 1.0,
    heartbeat_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="A node is unhealthy when its last heartbeat is older.")
    ] = 5.0,
    duration: Annotated[float | None, typer.Option(metavar="SECONDS", help="End after this time.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as JSON.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the new namespace on the server.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "--no-view", help="Show the report alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report alone, as JSON.")] = False,
) -> int:
    """Start a server, edge processes, a cloud worker and a monitor, and show what they do.

    Without --replay every edge process samples this machine and runs functions over the samples (needs psutil,
    which the extra `agent` of edge-redis installs). With it, each replays one node's readings of a recording: CSV or
    CSV.gz with a header, a column timestamp_ms (or _s, _us, or ISO 8601 in one named timestamp), one node_id, then
    fields.

    Ctrl-C ends it with a report; a second one skips all waiting. Exit code 1: a process failed for good, or changes
    are still pending.
    """
    from edge_redis._site.demo import DemoSite
    from edge_redis._site.settings import Settings
    from edge_redis._site.stop_request import TERMINAL_SIGNALS, StopRequest
    from edge_redis.cli import output, text
    from edge_redis.cli.view import choose_view

    named: dict[str, Any] = {} if namespace is None else {"namespace": namespace}
    settings = Settings(
        url=url,
        data_dir=data_dir,
        nodes=nodes,
        replay=replay,
        speed=speed,
        heartbeat_timeout=heartbeat_timeout,
        duration=duration,
        **named,
    )
    if replay is None:
        _require_psutil()
    if report is not None:
        _require_writable(report)
    with ExitStack() as stack:
        view = stack.enter_context(choose_view(is_quiet=quiet or as_json))
        site = DemoSite(settings, view, stop := StopRequest(TERMINAL_SIGNALS))
        with stop:
            final = site.run()
    if as_json:
        output.print_json(final.to_dict())
    else:
        print(text.report(final))
    if report is not None:
        report.write_text(json.dumps(final.to_dict(), indent=2) + "\n")
    if url is not None and namespace is None and not keep:
        _drop(url, settings.namespace)
    return _exit_code(final, stop)


def _require_psutil() -> None:
    """Fail before anything is started: every edge process of a live site would."""
    from importlib import import_module

    import_module("edge_redis._site.telemetry")


def _require_writable(path: Path) -> None:
    """Fail now, and not after the run, when the report cannot be written."""
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise EdgeRedisError(f"the report cannot be written: {error}") from error


def _drop(url: str, namespace: str) -> None:
    """Remove the keys that the site has left in its own namespace."""
    from edge_redis._site.services import operations_namespace
    from edge_redis.cli.connection import Server, open_services

    for name in (namespace, operations_namespace(namespace)):
        with open_services(Server(url, None, name)) as edge:
            edge.drop_namespace()


def _exit_code(report: Any, stop: Any) -> int:
    if stop.first_signal is signal.SIGINT:
        return exit_codes.INTERRUPTED
    is_fine = report.run["ended_by"] != "failed process" and (report.is_synced or stop.signal_count > 1)
    return exit_codes.OK if is_fine else exit_codes.FINDING
