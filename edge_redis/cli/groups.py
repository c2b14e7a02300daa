"""Command groups."""

from __future__ import annotations

import contextlib
import sys

import typer

from edge_redis.cli import exit_codes


def make_group(name: str, text: str) -> typer.Typer:
    """Return a group that shows its help when no command of it is named."""
    group = typer.Typer(name=name, help=text)

    @group.callback(invoke_without_command=True, help=text)
    def _show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            with contextlib.redirect_stdout(sys.stderr):
                print_help(context)
            raise typer.Exit(exit_codes.USAGE)

    return group


def print_help(context: typer.Context) -> None:
    """Print a command's help."""
    print(context.get_help())
