"""Idempotency keys, so that a script recognises a command that was sent twice.

A client library resends a command whose reply was lost. A script whose effect must not happen
twice carries an idempotency key: a *client id* and a *sequence number*, as NFS version 4.1
sessions do (RFC 8881, section 2.10.6). A client id belongs to one call at a time and its sequence
number rises by one a call. The server remembers the last sequence number and reply of each client
id (``_core/lua/idempotency.lua``), so its memory is bounded by the calls in flight at once, not
by the calls ever made.
"""

from __future__ import annotations

import os
import secrets
from itertools import count


class IdempotencyKeys:
    """Hands out idempotency keys, each client id to one call at a time. Safe for threads, tasks and forks."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._process = secrets.token_hex(6)
        self._count = count()
        self._free: list[tuple[str, int]] = []

    def acquire(self) -> IdempotencyKey:
        """Return the context of one call. It yields ``(client_id, sequence)`` and frees the client id at its end."""
        if self._pid != os.getpid():  # a forked child must not use its parent's client ids
            self._reset()
        try:
            client_id, sequence = self._free.pop()  # atomic: a test for emptiness first would not be
        except IndexError:
            client_id, sequence = f"{self._process}-{next(self._count)}", 0
        return IdempotencyKey(self._free, (client_id, sequence + 1))


class IdempotencyKey:
    """The context of one call. A class and not a generator function, which would be slower: every write makes one."""

    __slots__ = ("_free", "_key", "_pid")

    def __init__(self, free: list[tuple[str, int]], key: tuple[str, int]) -> None:
        self._free = free
        self._key = key
        self._pid = os.getpid()

    def keep(self) -> None:
        """Do not free the client id at the end of the context: the call is to be repeated under the same key."""
        self._pid = 0

    def resume(self) -> None:
        """Undo ``keep``: the next context of this key is its last one."""
        self._pid = os.getpid()

    def __enter__(self) -> tuple[str, int]:
        return self._key

    def __exit__(self, *_: object) -> None:
        if self._pid == os.getpid():
            self._free.append(self._key)
