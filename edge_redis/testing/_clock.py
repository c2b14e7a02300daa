"""A clock that a test moves: the time of fakeredis servers, and of this package in this process."""

from __future__ import annotations

import importlib
import sys
import time
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from edge_redis._core import validation, wall_clock
from edge_redis.errors import InvalidArgumentError

if TYPE_CHECKING:
    import pytest

_OWN_MODULES: Final = ("edge_redis._services.components", "edge_redis.cloudstores._database")
"""The modules of this package that read the time where no server gives it."""


class Clock:
    """A clock that stands still until it is moved.

    It is the server's clock of every fakeredis in this process, by which entries expire and heartbeats age,
    and the clock of this package: of near caches, circuit breakers and the times in models. Real servers, other
    packages and pauses between rounds keep real time.
    """

    def __init__(self, start: datetime | None = None) -> None:
        """Stop at ``start``, or at the present second."""
        self._now = datetime.now(UTC).replace(microsecond=0) if start is None else _check_aware(start)
        self._start = self._now

    @property
    def now(self) -> datetime:
        """The present time of this clock, in UTC."""
        return self._now

    def advance(self, seconds: float | timedelta) -> datetime:
        """Move the clock forward by seconds or a timedelta; return the new time.

        Raises:
            InvalidArgumentError: a negative time. A server's clock goes forward.

        """
        step = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
        return self.move_to(self._now + step)

    def move_to(self, moment: datetime) -> datetime:
        """Move the clock forward to ``moment``; return it.

        Raises:
            InvalidArgumentError: the moment is in the past of this clock.

        """
        moment = _check_aware(moment)
        if moment < self._now:
            raise InvalidArgumentError(f"the clock is at {self._now}: it cannot go back to {moment}")
        self._now = moment
        return moment

    @property
    def elapsed(self) -> timedelta:
        """How far the clock was moved."""
        return self._now - self._start

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Replace the time of fakeredis and of this package until ``patch`` is undone."""
        import fakeredis  # noqa: F401, PLC0415 -- an optional dependency, whose modules are replaced below

        for name in _OWN_MODULES[:1]:
            importlib.import_module(name)
        stand_in = _TimeModule(self)
        servers = [name for name in sys.modules if name.partition(".")[0] == "fakeredis"]
        for name in (*servers, *_OWN_MODULES):
            module = sys.modules.get(name)
            if getattr(module, "time", None) is time:
                patch.setattr(module, "time", stand_in)
        patch.setattr(wall_clock, "now", lambda: self._now)


class _TimeModule(ModuleType):
    """Stands in for the module ``time``: its wall clock stands still, and its monotonic clock runs on."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("time")
        self._clock = clock

    def time(self) -> float:
        """Return the clock's Unix time in seconds."""
        return self._clock.now.timestamp()

    def time_ns(self) -> int:
        """Return the clock's Unix time in nanoseconds."""
        return (self._clock.now - _EPOCH) // _MICROSECOND * 1000

    def monotonic(self) -> float:
        """Return the real monotonic clock, moved as far as this clock was."""
        return time.monotonic() + self._clock.elapsed.total_seconds()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _check_aware(moment: datetime) -> datetime:
    validation.check_instance("moment", moment, datetime)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
