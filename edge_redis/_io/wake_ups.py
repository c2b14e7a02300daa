"""What ends the pause of repeated work early: listeners report that there may be something to do."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

_log = logging.getLogger("edge_redis")

IsNews: TypeAlias = Callable[[], bool]


class Wake(Protocol):
    """Ends a pause. Callable from any thread; many calls are one."""

    def __call__(self, is_news: IsNews | None = None) -> None:
        """End the pause, where ``is_news`` is true by then; None: in any case."""


class Listener(Protocol):
    """Calls ``wake`` from its start until it is closed."""

    @property
    def is_listening(self) -> bool:
        """Whether every change wakes the loop now."""

    def start(self) -> object:
        """Begin to listen."""

    def close(self) -> Awaitable[object] | None:
        """Stop listening."""


Listen: TypeAlias = Callable[[Wake], Sequence[Listener | None]]
"""Returns a listener for each end; None in the place of an end that cannot be listened to."""


class WakeUps:
    """The wake-ups of one loop: whether one came since the last round began."""

    def __init__(self, listen: Listen | None) -> None:
        self._listen = listen
        self._listeners: Sequence[Listener | None] = ()
        self._has_come = False
        self._is_news: IsNews | None = None
        self._is_old: IsNews | None = None

    def start(self, wake: Wake) -> None:
        """Listen, until ``stop``."""
        if self._listen is not None:
            self._listeners = self._listen(wake)  # before they start: an interruption then finds what to stop
            for each in self._listeners:
                if each is not None:
                    each.start()

    def stop(self) -> list[Awaitable[object]]:
        """Stop listening; return what is left to be awaited of that. If this is interrupted, call it again."""
        left = []
        for each in self._listeners:
            if each is not None:
                try:
                    left.append(each.close())
                except Exception:  # noqa: BLE001 -- of a user's store
                    _log.exception("a listener could not be closed")
        self._listeners = ()
        return [each for each in left if each is not None]

    def renew(self) -> None:
        """Let the listeners that can do so make their connections anew."""
        for each in self._listeners:
            renew = getattr(each, "renew", None)
            if renew is not None:
                renew()

    def forget(self) -> None:
        """Reset state in a forked child, where nothing listens."""
        self._listeners = ()

    @property
    def is_listening(self) -> bool:
        """Whether every end is listened to."""
        return bool(self._listeners) and all(each is not None and each.is_listening for each in self._listeners)

    def add(self, is_news: IsNews | None) -> None:
        """Record a wake-up, from any thread: one is enough, of those with ``is_news`` the latest."""
        if is_news is None:
            self._has_come = True
        else:
            self._is_news = is_news

    def take(self) -> bool:
        """Return whether a wake-up has come, and begin anew: the round that begins now reads all that it is about."""
        has_come = self.has_come
        self._has_come, self._is_old = False, self._is_news
        return has_come

    @property
    def has_come(self) -> bool:
        """Whether there is something to do, as far as is known by now."""
        is_news = self._is_news
        return self._has_come or (is_news is not None and is_news is not self._is_old and is_news())
