"""edge-redis up: the demo site."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_redis.cli import exit_codes, options
from edge_redis.errors import EdgeRedisError

if TYPE_CHECKING:
    from edge_redis._site.report import Report
    from edge_redis._site.settings import Settings
    from edge_redis._site.stop_request import Stop


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up")(up)


def up(
    url: Annotated[
        str | None, typer.Option(help="A running server. Default: one is started, and ends with the command.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(metavar="NS", help="Default: a new one, removed at the end.")] = None,
    cloud_url: options.CloudUrl = None,
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
    page: Annotated[
        bool | None, typer.Option(help="Serve the page in a browser. Default: in a terminal.", show_default=False)
    ] = None,
    page_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", min=0, max=65535, help="Port of the page. Default: 8321, or a free one where it is taken."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "--no-view", help="Show the report alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report alone, as JSON.")] = False,
) -> int:
    """Start a server, edge processes, a cloud worker and a monitor, and show what they do.

    Without --replay every edge process samples this machine and runs functions over the samples (needs psutil,
    which the extra `agent` of edge-redis installs). With it, each replays one node's readings of a recording: CSV or
    CSV.gz with a header, a column timestamp_ms (or _s, _us, or ISO 8601 in one named timestamp), one node_id, then
    fields.

    In a terminal it shows what `edge-redis top` shows (with the extra `top`), and serves the page in a browser (with
    the extra `dashboard`). Keys: k kills a node, h hangs or continues one, c cuts or restores the link to the cloud,
    e edits a scope in the cloud, q ends; the others are those of `top`.

    Ctrl-C ends it with a report; a second one skips all waiting. Exit code 1: a process failed for good, or changes
    are still pending.
    """
    from edge_redis._site.settings import Settings
    from edge_redis.cli import output, text

    named: dict[str, Any] = {} if namespace is None else {"namespace": namespace}
    settings = Settings(
        url=url,
        cloud_url=cloud_url,
        data_dir=data_dir,
        nodes=nodes,
        replay=replay,
        speed=speed,
        heartbeat_timeout=heartbeat_timeout,
        duration=duration,
        **named,
    )
    if replay is None:
        _require("edge_redis._site.telemetry")
    if page:
        _require("edge_redis.dashboard._serve")
    if report is not None:
        _require_writable(report)
    final, stop = _run(settings, is_quiet=quiet or as_json, page=page, page_port=page_port)
    if as_json:
        output.print_json(final.to_dict())
    else:
        print(text.report(final))
    if report is not None:
        report.write_text(json.dumps(final.to_dict(), indent=2) + "\n")
    if namespace is None and not keep:
        _drop(settings)
    return _exit_code(final, stop)


def _run(settings: Settings, *, is_quiet: bool, page: bool | None, page_port: int | None) -> tuple[Report, Stop]:
    """Run the site in the view that fits the output, and return its report and what ended it."""
    from edge_redis._site.demo import DemoSite
    from edge_redis._site.stop_request import TERMINAL_SIGNALS, StopFlag, StopRequest
    from edge_redis.cli.view import PagedView, choose_view, is_terminal

    has_terminal = is_terminal() and not is_quiet
    is_paged = page or (page is None and has_terminal and _is_installed("uvicorn", "jinja2"))
    if has_terminal and sys.stdin.isatty() and _is_installed("textual"):
        from edge_redis.cli._top.up_app import TerminalView, run_in_terminal

        view, flag = TerminalView(), StopFlag()
        shown = PagedView(view, page_port) if is_paged else view
        return run_in_terminal(view, flag, DemoSite(settings, shown, flag)), flag
    with choose_view(is_quiet=is_quiet) as plain:
        stop = StopRequest(TERMINAL_SIGNALS)
        site = DemoSite(settings, PagedView(plain, page_port) if is_paged else plain, stop)
        with stop:
            return site.run(), stop


def _is_installed(*modules: str) -> bool:
    from importlib.util import find_spec

    return all(find_spec(module) is not None for module in modules)


def _require(module: str) -> None:
    """Fail before anything is started where an extra is missing."""
    from importlib import import_module

    import_module(module)


def _require_writable(path: Path) -> None:
    """Fail now, and not after the run, when the report cannot be written."""
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise EdgeRedisError(f"the report cannot be written: {error}") from error


def _drop(settings: Settings) -> None:
    """Remove the keys that the site has left in its own namespace, on servers that go on running."""
    from edge_redis._site.services import operations_namespace
    from edge_redis.cli.connection import load_settings, open_services

    for url in {settings.url, settings.cloud_url} - {None}:
        for name in (settings.namespace, operations_namespace(settings.namespace)):
            with open_services(load_settings(url, None, name)) as edge:
                edge.drop_namespace()


def _exit_code(report: Report, stop: Stop) -> int:
    if stop.first_signal is signal.SIGINT:
        return exit_codes.INTERRUPTED
    is_fine = report.run["ended_by"] != "failed process" and (report.is_synced or stop.signal_count > 1)
    return exit_codes.OK if is_fine else exit_codes.FINDING
