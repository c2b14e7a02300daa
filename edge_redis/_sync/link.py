"""Counts what one store object sends to its cloud, and receives from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from edge_redis._core.operation import Argument


def resp_bytes(lengths: Sequence[int]) -> int:
    """Return the bytes of an array of texts in RESP: ``*<count>``, and ``$<length>`` and each text, with CRLF."""
    return 3 + len(str(len(lengths))) + sum(lengths) + sum(map(len, map(str, lengths))) + 5 * len(lengths)


LINK_COUNTERS: Final = (
    "bytes_up",
    "splices_up",
    "full_states_up",
    "splices_refused",
    "bytes_down",
    "headers_down",
    "splices_down",
    "full_states_down",
    "round_trips",
)
_REPLY_BYTES: Final = 6
_OUTCOME_BYTES: Final = 9
"""Of the reply to changes, and of the outcome of one: a word of eight or nine letters, and a space."""


class LinkCounters:
    """What has gone up to the cloud and come down since the store object was made. Safe for threads and tasks.

    Counted are the commands that carry changes or read the feed, and their replies, as RESP has them.
    """

    def __init__(self, new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._new_mutex = new_mutex
        self._mutex = new_mutex()
        self._taken = dict.fromkeys(LINK_COUNTERS, 0)
        self.bytes_up = 0
        """Bytes of the commands."""
        self.splices_up = 0
        """States that went up as the difference from another state."""
        self.full_states_up = 0
        """States that went up whole."""
        self.splices_refused = 0
        """Calls that the cloud refused because it holds another state than the one that their splices were made of."""

        self.bytes_down = 0
        """Bytes of the replies."""
        self.headers_down = 0
        """States of which a header came down: the store object had their bodies."""
        self.splices_down = 0
        """States that came down as the difference from another state."""
        self.full_states_down = 0
        """States that came down whole."""
        self.round_trips = 0
        """Commands sent, but those sent together count as one."""

    def add_sent(self, args: Iterable[Argument], states: int, splices: int) -> None:
        """Count a command that carries so many states, some of them as splices, and its reply."""
        size = resp_bytes([len(arg) if isinstance(arg, bytes) else len(str(arg).encode()) for arg in args])
        with self._mutex:
            self.round_trips += 1
            self.bytes_up += size
            self.bytes_down += _REPLY_BYTES + _OUTCOME_BYTES * states
            self.splices_up += splices
            self.full_states_up += states - splices

    def add_batch(self, calls: int) -> None:
        """Count calls that are sent together as one round trip, where each is counted as one besides."""
        with self._mutex:
            self.round_trips += 1 - calls

    def add_refused(self) -> None:
        """Count a call whose splices were refused."""
        with self._mutex:
            self.splices_refused += 1

    def add_read(self, args: Iterable[Argument], size: int) -> None:
        """Count a command that reads a part of the feed, and its reply of ``size`` bytes."""
        asked = resp_bytes([len(arg) if isinstance(arg, bytes) else len(str(arg).encode()) for arg in args])
        with self._mutex:
            self.round_trips += 1
            self.bytes_up += asked
            self.bytes_down += size

    def add_hint(self, size: int) -> None:
        """Count the state that a hint brought."""
        with self._mutex:
            self.bytes_down += size

    def add_state(self, *, is_whole: bool, is_known: bool) -> None:
        """Count a state of the feed that came whole, or was known already, or was made of a known one."""
        with self._mutex:
            self.full_states_down += is_whole
            self.headers_down += is_known and not is_whole
            self.splices_down += not is_known and not is_whole

    def describe(self) -> dict[str, int]:
        """Return the counters by their names."""
        with self._mutex:
            return self._read()

    def take(self) -> dict[str, int]:
        """Return what was counted since this was called last: each count is returned once."""
        with self._mutex:
            now, before = self._read(), self._taken
            self._taken = now
        return {name: count - before[name] for name, count in now.items() if count != before[name]}

    def _read(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in LINK_COUNTERS}

    def after_fork(self) -> None:
        """Reset state in a forked child: a thread of the parent may hold the mutex, and the parent saves its counts."""
        self._mutex = self._new_mutex()
        self._taken = self._read()
