"""How a call on a cluster is routed, and how often it is repeated: for blocking and asyncio senders alike."""

from __future__ import annotations

import time
from typing import Any, Final

from redis import exceptions as redis_errors
from redis.backoff import NoBackoff

from edge_redis._io.command_sender import Args
from edge_redis._io.connect_retry import BUDGET_SECONDS
from edge_redis._io.error_mapping import is_pool_full

_ATTEMPTS: Final = 6
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.8

REDIRECTIONS: Final = (redis_errors.AskError, redis_errors.TryAgainError)
"""The errors of a node that answers and does not have the keys, or not all; MovedError is an AskError to redis-py."""

_REPEATABLE: Final = (
    *REDIRECTIONS,
    redis_errors.ClusterDownError,
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
)


def find_key(args: Args) -> Any:
    """Return the key by whose slot a command is routed; None where any master may run it."""
    if args[0] in {"EVALSHA", "EVAL"}:
        return args[3]
    return args[1] if len(args) > 1 else None


class Attempts:
    """The attempts of one call on a cluster client; there are no pauses if its ``retry`` has none."""

    def __init__(self, client: Any) -> None:
        backoff = getattr(getattr(client, "retry", None), "_backoff", None)
        self._left = _ATTEMPTS
        self._pause = 0.0 if isinstance(backoff, NoBackoff) else _FIRST_PAUSE
        self._end = time.monotonic() + BUDGET_SECONDS

    def next_pause(self, error: Exception) -> float:
        """Return for how many seconds to wait before the next attempt; none after a redirection.

        Raises:
            Exception: ``error``, by which the last attempt failed, where there is to be no other.

        """
        self._left -= 1
        if not self._left or time.monotonic() > self._end or not is_repeatable(error):
            raise error
        if isinstance(error, redis_errors.AskError):
            return 0.0
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return pause


def is_repeatable(error: Exception) -> bool:
    """Return whether another attempt, or another node, may do what has failed by ``error``."""
    is_refused = isinstance(error, redis_errors.AuthenticationError)  # to redis-py a ConnectionError
    return isinstance(error, _REPEATABLE) and not is_refused and not is_pool_full(error)
