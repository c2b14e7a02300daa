"""Operation ids, so that a script recognises a command that was sent twice.

A client library resends a command whose reply was lost. A script whose effect must not
happen twice carries a *slot* and a *sequence number*, as NFS version 4.1 sessions do
(RFC 8881, section 2.10.6): a slot belongs to one call at a time, its number rises by one
a call, and the server remembers the last number and reply of each slot
(``core/lua/repeats.lua``). So the memory is bounded by the calls in flight at once, not
by the calls ever made.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count


class Slots:
    """Hands out operation ids, each slot to one call at a time. Safe for threads, tasks and forks."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._process = secrets.token_hex(6)
        self._count = count()
        self._free: list[tuple[str, int]] = []

    @contextmanager
    def hold(self) -> Iterator[tuple[str, int]]:
        """Yield ``(slot, number)`` for one call; the slot is free again afterwards."""
        if self._pid != os.getpid():  # a forked child must not use its parent's slots
            self._reset()
        try:
            slot, number = self._free.pop()  # atomic, where a test for emptiness before it would not be
        except IndexError:
            slot, number = f"{self._process}-{next(self._count)}", 0
        pid = self._pid
        try:
            yield slot, number + 1
        finally:
            if pid == self._pid:
                self._free.append((slot, number + 1))
