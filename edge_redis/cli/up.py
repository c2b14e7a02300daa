"""edge-redis up: the demo site."""

from __future__ import annotations

import argparse
import json
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from edge_redis._site.demo import DemoSite
from edge_redis._site.report import Report
from edge_redis._site.settings import Settings
from edge_redis._site.stop_request import TERMINAL_SIGNALS, StopRequest
from edge_redis.cli import options, text
from edge_redis.cli.view import choose_view
from edge_redis.errors import EdgeRedisError

_DESCRIPTION: Final = """Start a server, edge processes, a cloud worker and a monitor, and show what they do.

Without --replay every edge process samples this machine and runs functions over it. With it, each
plays one node's readings of a recording: CSV or CSV.gz with a header, a column timestamp_ms (or _s,
_us, or ISO 8601 in one named timestamp), one node_id, then fields. Ctrl-C ends it with a report; a
second one does not wait for what is left to do."""


def add_to(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "up",
        help="start edge processes, a cloud worker and a server, and watch them",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_url(parser, otherwise="one is started, and ends with the command")
    options.add_namespace(parser, default=None, otherwise="a new one")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="keep the started server's data here")
    parser.add_argument(
        "--nodes", type=int, metavar="N", default=3, help="edge processes without --replay (default: 3)"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="play a recording, one process a node")
    parser.add_argument("--speed", type=float, metavar="S", default=1.0, help="recorded seconds a second (default: 1)")
    parser.add_argument(
        "--heartbeat-timeout",
        type=float,
        metavar="SECONDS",
        default=5.0,
        help="a node silent for so long is unhealthy; recorded seconds with --replay (default: 5)",
    )
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="end after so long")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON")
    parser.add_argument("--quiet", "--no-view", action="store_true", help="show the report alone")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo site; return 0, 1 when a process failed or changes are still pending, 130 after Ctrl-C."""
    settings = _settings(arguments)
    if arguments.report is not None:
        _refuse_unwritable(arguments.report)
    with ExitStack() as stack:
        view = stack.enter_context(choose_view(is_quiet=arguments.quiet))
        site = DemoSite(settings, view, stop := StopRequest(TERMINAL_SIGNALS))
        with stop:
            report = site.run()
    print(text.report(report))
    if arguments.report is not None:
        arguments.report.write_text(json.dumps(report.to_dict(), indent=2) + "\n")
    return _exit_code(report, stop)


def _settings(arguments: argparse.Namespace) -> Settings:
    named = {"namespace": arguments.namespace} if arguments.namespace is not None else {}
    return Settings(
        url=arguments.url,
        data_dir=arguments.data_dir,
        nodes=arguments.nodes,
        replay=arguments.replay,
        speed=arguments.speed,
        heartbeat_timeout=arguments.heartbeat_timeout,
        duration=arguments.duration,
        **named,
    )


def _refuse_unwritable(path: Path) -> None:
    """Say now, not after the run, that the report cannot be written."""
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise EdgeRedisError(f"the report cannot be written: {error}") from error


def _exit_code(report: Report, stop: StopRequest) -> int:
    if stop.first_signal is signal.SIGINT:
        return 130
    is_well = report.run["ended_by"] != "failed process" and (report.is_synced or stop.signal_count > 1)
    return 0 if is_well else 1
