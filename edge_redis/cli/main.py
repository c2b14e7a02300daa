"""The entry of the command `edge-redis`: runs one command; every error becomes one sentence and an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from edge_redis.cli import exit_codes, groups
from edge_redis.cli.commands import LazyGroup
from edge_redis.settings._sources import FILE_VARIABLE

# typer brings its own copy of click in some releases: the classes of errors come from typer itself.
_USAGE_ERROR: Final[Any] = typer.BadParameter.__mro__[1]
_COMPLETION_VARIABLE: Final = "_EDGE_REDIS_COMPLETE"
_HELP_COLUMNS: Final = 100
_HELP: Final = "Operate edge sites on Redis: a cache, node health, function metrics and state sync."

app = typer.Typer(
    name="edge-redis",
    cls=LazyGroup,
    help=_HELP,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # to format help by Rich takes longer than all else that it needs
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _HELP_COLUMNS},
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(envvar=FILE_VARIABLE, metavar="FILE", help="Settings file (TOML).")
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        import edge_redis

        print(f"edge-redis {edge_redis.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        groups.print_help(context)
        raise typer.Exit
    from edge_redis.cli import settings

    path = settings.choose_file(config)
    if path is not None:
        context.default_map = settings.read_defaults(path, context.command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    if _COMPLETION_VARIABLE in os.environ:
        import_module("typer.completion").completion_init()
    try:
        code = _command()(args=None if argv is None else list(argv), prog_name="edge-redis", standalone_mode=False)
        sys.stdout.flush()
    except _USAGE_ERROR as error:
        return _fail_usage(error)
    except typer.Exit as end:
        return end.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return exit_codes.INTERRUPTED
    except BrokenPipeError:  # the reader of the output has left: nothing more can be printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.FINDING
    except Exception as error:
        from edge_redis.cli import failures
        from edge_redis.errors import EdgeRedisError

        if not isinstance(error, (EdgeRedisError, OSError)):
            raise
        return _fail(failures.describe(error), failures.exit_code(error))
    return code if isinstance(code, int) else exit_codes.OK


@functools.cache
def _command() -> Any:
    """Return the tree of commands, which takes longer to build than most of them run."""
    return import_module("typer.main").get_command(app)


def _fail_usage(error: Any) -> int:
    command = error.ctx.command_path if error.ctx is not None else "edge-redis"
    message = " ".join(str(error.format_message()).split())
    ending = "" if message.endswith("?") else "."
    return _fail(f"{message.rstrip('.')}{ending} See '{command} --help'.", exit_codes.USAGE)


def _fail(message: str, code: int) -> int:
    print(f"edge-redis: {message}", file=sys.stderr)
    return code
