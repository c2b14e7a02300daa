"""The entry: finds the command, and turns every error into one line and an exit code.

0: done. 1: it could not be done. 2: the command line is wrong. 130: ended by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

import edge_redis
from edge_redis.cli import doctor, metrics, monitor, status, sync, up
from edge_redis.errors import EdgeRedisError, InvalidArgumentError

EXIT_TROUBLE: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

_COMMANDS: Final = (up, monitor, status, metrics, sync, doctor)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-redis", description=edge_redis.__doc__)
    parser.add_argument("--version", action="version", version=f"edge-redis {edge_redis.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except InvalidArgumentError as error:
        return _fail(error, EXIT_USAGE)
    except (EdgeRedisError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # whoever read the output has left; nothing more can be told
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_TROUBLE
        return _fail(error, EXIT_TROUBLE)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def _fail(error: Exception, code: int) -> int:
    print(f"edge-redis: {error}".replace("\n", " "), file=sys.stderr)
    return code
