"""Counts what one store object sends to its cloud, and receives from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from edge_redis._core.operation import Argument


def resp_bytes(lengths: Sequence[int]) -> int:
    """Return the bytes of an array of texts in RESP: ``*<count>``, and ``$<length>`` and each text, with CRLF."""
    return 3 + len(str(len(lengths))) + sum(lengths) + sum(map(len, map(str, lengths))) + 5 * len(lengths)


class LinkCounters:
    """What has gone up to the cloud and come down since the store object was made. Safe for threads and tasks."""

    def __init__(self, new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._new_mutex = new_mutex
        self._mutex = new_mutex()
        self.bytes_up = 0
        """Bytes of the commands that carry changes."""
        self.splices_up = 0
        """States that went up as the difference from another state."""
        self.full_states_up = 0
        """States that went up whole."""
        self.splices_refused = 0
        """Calls that the cloud refused because it holds another state than the one that their splices were made of."""

        self.bytes_down = 0
        """Bytes of the replies that carry the feed."""
        self.headers_down = 0
        """States of which a header came down: the store object had their bodies."""
        self.splices_down = 0
        """States that came down as the difference from another state."""
        self.full_states_down = 0
        """States that came down whole."""

    def add_sent(self, args: Iterable[Argument], states: int, splices: int) -> None:
        """Count a command that carries so many states, some of them as splices."""
        size = resp_bytes([len(arg) if isinstance(arg, bytes) else len(str(arg).encode()) for arg in args])
        with self._mutex:
            self.bytes_up += size
            self.splices_up += splices
            self.full_states_up += states - splices

    def add_refused(self) -> None:
        """Count a call whose splices were refused."""
        with self._mutex:
            self.splices_refused += 1

    def add_received(self, size: int) -> None:
        """Count a reply of so many bytes that carries a part of the feed."""
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
            return {
                "bytes_up": self.bytes_up,
                "splices_up": self.splices_up,
                "full_states_up": self.full_states_up,
                "splices_refused": self.splices_refused,
                "bytes_down": self.bytes_down,
                "headers_down": self.headers_down,
                "splices_down": self.splices_down,
                "full_states_down": self.full_states_down,
            }

    def after_fork(self) -> None:
        """Make another mutex in a forked child: a thread of the parent may hold this one."""
        self._mutex = self._new_mutex()
