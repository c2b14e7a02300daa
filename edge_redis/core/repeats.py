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

    def hold(self) -> Call:
        """Return the context of one call, which gives its ``(slot, number)``; the slot is free again afterwards."""
        if self._pid != os.getpid():  # a forked child must not use its parent's slots
            self._reset()
        try:
            slot, number = self._free.pop()  # atomic, where a test for emptiness before it would not be
        except IndexError:
            slot, number = f"{self._process}-{next(self._count)}", 0
        return Call(self._free, (slot, number + 1))


class Call:
    """Holds a slot for one call. A class and no generator: every write makes one."""

    __slots__ = ("_free", "_id", "_pid")

    def __init__(self, free: list[tuple[str, int]], call_id: tuple[str, int]) -> None:
        self._free = free
        self._id = call_id
        self._pid = os.getpid()

    def __enter__(self) -> tuple[str, int]:
        return self._id

    def __exit__(self, *_: object) -> None:
        if self._pid == os.getpid():
            self._free.append(self._id)
