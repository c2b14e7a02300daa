"""A clock that tests move: the time that a fakeredis server says it is."""

from __future__ import annotations

import pytest


class ServerClock:
    """Stands in for the ``time`` module of fakeredis' TIME command. ``now`` is in seconds."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


def stop_the_clock(patch: pytest.MonkeyPatch, at: float) -> ServerClock:
    """Let every fakeredis server say that it is ``at``, until the clock returned is moved."""
    clock = ServerClock(at)
    patch.setattr("fakeredis.commands_mixins.server_mixin.time", clock)
    return clock
