"""How a call on a cluster is routed, and how often it is repeated: for blocking and asyncio senders alike."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions as redis_errors

from edge_redis._io.command_sender import Args
from edge_redis._io.connect_retry import BUDGET_SECONDS
from edge_redis._io.error_mapping import is_pool_full

_ATTEMPTS: Final = 6
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.8

_REPEATABLE: Final = (
    redis_errors.AskError,  # and MovedError, which is one to redis-py
    redis_errors.TryAgainError,
    redis_errors.ClusterDownError,
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
)


def find_key(args: Args) -> Any:
    """Return the key by whose slot a command is routed; None where any master may run it."""
    if args[0] in {"EVALSHA", "EVAL"}:
        return args[3]
    return args[1] if len(args) > 1 else None


def choose_replica(nodes: Sequence[Any]) -> Any:
    """Return the replica of a slot that this process asks; the master, which is the first node, where there is none.

    It is the same each time, so that answers do not go back to what they were: replicas lag by different times.
    They are sorted since servers list them in different orders.
    """
    master, *replicas = nodes
    return sorted(replicas, key=lambda node: node.name)[os.getpid() % len(replicas)] if replicas else master


class Attempts:
    """The attempts of one call."""

    def __init__(self) -> None:
        self._left = _ATTEMPTS
        self._pause = _FIRST_PAUSE
        self._end = time.monotonic() + BUDGET_SECONDS

    @property
    def is_first(self) -> bool:
        """Whether no attempt has failed."""
        return self._left == _ATTEMPTS

    def next_pause(self, error: Exception) -> float:
        """Return for how many seconds to wait before the next attempt; none after a redirection.

        Raises:
            Exception: ``error``, by which the last attempt failed, where there is to be no other.

        """
        self._left -= 1
        if not self._left or time.monotonic() > self._end or not _is_repeatable(error):
            raise error
        if isinstance(error, redis_errors.AskError):
            return 0.0
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return pause


def _is_repeatable(error: Exception) -> bool:
    is_refused = isinstance(error, redis_errors.AuthenticationError)  # to redis-py a ConnectionError
    return isinstance(error, _REPEATABLE) and not is_refused and not is_pool_full(error)
