"""Options that several commands have."""

from __future__ import annotations

import argparse

from edge_redis._io.connect import ENVIRONMENT_VARIABLE


def add_url(parser: argparse.ArgumentParser, *, otherwise: str) -> None:
    """Let a server be named."""
    parser.add_argument("--url", help=f"the server, such as redis://localhost:6379/0 (default: {otherwise})")


def add_server(parser: argparse.ArgumentParser) -> None:
    """Let a server be named that runs already."""
    add_url(parser, otherwise=f"what {ENVIRONMENT_VARIABLE} says, else redis://localhost:6379/0")


def add_namespace(parser: argparse.ArgumentParser, *, default: str | None, otherwise: str) -> None:
    """Let a namespace be named."""
    parser.add_argument("--namespace", metavar="NS", default=default, help=f"whose keys (default: {otherwise})")
