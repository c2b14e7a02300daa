"""edge-redis completion: the shell's completion script."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from edge_redis.cli import exit_codes
from edge_redis.errors import InvalidArgumentError

_SHELLS: Final = ("bash", "zsh", "fish")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("completion")(completion)


def completion(shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish")]) -> int:
    """Print a completion script, for the shell to read: source <(edge-redis completion bash)."""
    from importlib import import_module

    if shell not in _SHELLS:
        raise InvalidArgumentError(f"{shell!r} has no completion script: use {', '.join(_SHELLS)}")
    make_script = import_module("typer.completion").get_completion_script
    print(make_script(prog_name="edge-redis", complete_var="_EDGE_REDIS_COMPLETE", shell=shell))
    return exit_codes.OK
