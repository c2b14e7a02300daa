"""Errors that a component raises over a reply that this package's scripts never send.

Most replies are decoded where they arrive (``replies.decode``). A component then relies on the number and the types of
their parts. If something else replies, such as a proxy that garbles replies, Python itself raises an error, which
becomes a CorruptDataError here.
"""

from __future__ import annotations

from traceback import walk_tb
from typing import Final

from edge_redis.errors import CorruptDataError, EdgeRedisError

PART_ERRORS: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What Python raises of parts that are too many, too few, or of another type."""


def translate_part_error(error: Exception) -> CorruptDataError | None:
    """Return the error for one that a coroutine raised after a step; None where it is of another kind.

    An error of a user's function, which the coroutine calls by a step of its own, stays as it is.
    """
    if isinstance(error, EdgeRedisError):
        return None
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    if not all(name.startswith("edge_redis.") for name in modules):
        return None
    if any(name.startswith("edge_redis._io.") for name in modules[1:]):  # a runner's step, inside of the coroutine
        return None
    return CorruptDataError(f"a reply of the server cannot be used: {type(error).__name__}: {str(error)[:200]}")
