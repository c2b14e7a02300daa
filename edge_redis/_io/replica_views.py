"""Which calls of a cluster client made with ``read_replicas`` go to a replica, and to which.

A replica that does not answer is left alone for a while. One that hangs accepts connections all the same, so each
view would wait for it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from edge_redis._io.command_sender import Args

VIEW_SECONDS: Final = 1.0
"""A view waits so long for a replica, or for the client's ``socket_timeout`` where that is shorter."""

SUSPENDED_SECONDS: Final = 30.0
"""Masters are asked for so long instead of a replica that has failed."""

PLAIN_WRITES: Final = frozenset({"DEL", "HDEL", "SET", "UNLINK", "XADD", "XDEL"})
"""The plain commands that write. A replica would answer MOVED; a script that writes it refuses (READONLY)."""


def choose_replica(nodes: Sequence[Any]) -> Any:
    """Return the replica of a slot that this process asks; the master, which is the first node, where there is none.

    It is the same each time, so that answers do not go back to what they were: replicas lag by different times.
    They are sorted since servers list them in different orders.
    """
    master, *replicas = nodes
    return sorted(replicas, key=lambda node: node.name)[os.getpid() % len(replicas)] if replicas else master


class ReplicaViews:
    """What one client knows of its replicas."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._suspended: dict[str, float] = {}
        """The replicas that have failed, and until when they are not asked."""

    def find_replica(self, args: Args, nodes: Sequence[Any] | None) -> Any:
        """Return the node to ask, of the nodes of the command's slot; None where the master is to be asked."""
        if not nodes or args[0] in PLAIN_WRITES:
            return None
        chosen = choose_replica(nodes)
        if chosen is nodes[0] or self._clock() < self._suspended.get(chosen.name, 0.0):
            return None
        return chosen

    def suspend(self, node: Any) -> None:
        """Leave a replica alone, which has failed."""
        self._suspended[node.name] = self._clock() + SUSPENDED_SECONDS
