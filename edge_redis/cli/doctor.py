"""edge-redis doctor: whether a server is fit for use."""

from __future__ import annotations

import argparse
from typing import Any

from edge_redis._io.doctor import examine
from edge_redis.cli import options


def add_to(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser("doctor", help="check whether a server is fit for use")
    options.add_server(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; return 0, or 1 where something must be changed."""
    findings = examine(arguments.url)
    for finding in findings:
        print(f"{finding.level:<5} {finding.topic}: {finding.text}")
    return 1 if any(finding.level == "fail" for finding in findings) else 0
