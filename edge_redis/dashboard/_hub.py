"""Renders each view that has a stream once a tick, and sends the streams what has changed.

Nothing runs while there is no stream. A view's frames are kept for a short time, so that a stream that is opened again
receives the changes since the frame that the browser shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from edge_redis.dashboard._fragments import Fragment, Replacement, list_replacements

_log: Final = logging.getLogger("edge_redis")
_MAX_VIEWS: Final = 64
_FRAMES_A_VIEW: Final = 3
_MAX_SHARE: Final = 5
"""Rendering takes at most one part in this many of the time."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The fragments of a view at one moment."""

    number: str
    fragments: tuple[Fragment, ...]
    is_found: bool = True
    is_broken: bool = False


Render = Callable[[Hashable, Frame | None], Awaitable[Frame]]
"""Renders a view; it is given the frame before, to show it again where the server cannot be reached."""


@dataclass(slots=True)
class _ViewFrames:
    frames: OrderedDict[str, Frame] = field(default_factory=OrderedDict)
    rendered_at: float = float("-inf")
    followers: int = 0

    @property
    def latest(self) -> Frame | None:
        return next(reversed(self.frames.values())) if self.frames else None

    def add(self, frame: Frame) -> None:
        self.frames[frame.number] = frame
        while len(self.frames) > _FRAMES_A_VIEW:
            self.frames.popitem(last=False)


class Hub:
    """Frames of views, and streams of their changes.

    Args:
        render: renders a view.
        interval_seconds: between two frames of a view.
        stream_seconds: how long a stream lasts; the browser then opens another.
        max_streams: streams at one time.
        clock: a monotonic clock.

    """

    def __init__(
        self,
        render: Render,
        *,
        interval_seconds: float,
        stream_seconds: float,
        max_streams: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._render = render
        self._interval = interval_seconds
        self._stream_seconds = stream_seconds
        self._max_streams = max_streams
        self._clock = clock
        self._views: OrderedDict[Hashable, _ViewFrames] = OrderedDict()
        self._lock: asyncio.Lock | None = None
        self._ticked: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self.streams = 0
        """Number of open streams."""
        self.ticks = 0
        """Number of ticks so far."""

    @property
    def is_full(self) -> bool:
        """Whether no further stream is accepted."""
        return self._is_closed or self.streams >= self._max_streams

    async def frame(self, view: Hashable) -> Frame:
        """Return the frame of a view, rendered now unless one is younger than the interval."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            known = self._view(view)
            latest = known.latest
            if latest is None or latest.is_broken or self._clock() - known.rendered_at >= self._interval:
                latest = await self._add_frame(view, known)
            return latest

    def forget(self) -> None:
        """Render all views anew at the next request or tick, after an action."""
        for known in self._views.values():
            known.rendered_at = float("-inf")

    def _view(self, view: Hashable) -> _ViewFrames:
        known = self._views.setdefault(view, _ViewFrames())
        self._views.move_to_end(view)
        for name in list(self._views)[:-_MAX_VIEWS]:
            if not self._views[name].followers:
                del self._views[name]
        return known

    async def _add_frame(self, view: Hashable, known: _ViewFrames) -> Frame:
        latest = known.latest
        made = await self._render(view, latest)
        known.rendered_at = self._clock()
        if latest is None or made.fragments != latest.fragments:
            known.add(made)
            return made
        return latest

    async def follow(self, view: Hashable, after: str) -> AsyncGenerator[tuple[str, list[Replacement]], None]:
        """Yield a frame's number and the changes since the frame ``after``, or since the one yielded before.

        Yields no changes where there are none for an interval, as a sign of life.
        """
        known = self._view(view)
        known.followers += 1
        self.streams += 1
        try:
            await self.frame(view)
            end = self._clock() + self._stream_seconds
            self._start()
            seen = known.frames.get(after)
            while not self._is_closed and self._clock() < end:
                latest = known.latest
                assert latest is not None
                changes = list_replacements(seen.fragments if seen else (), latest.fragments)
                seen = latest
                yield latest.number, changes
                await self._wait(end)
        finally:
            known.followers -= 1
            self.streams -= 1

    async def _wait(self, end: float) -> None:
        assert self._ticked is not None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ticked.wait(), max(0.0, end - self._clock()))

    def _start(self) -> None:
        if self._ticked is None:
            self._ticked = asyncio.Event()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="edge-redis dashboard")

    async def _run(self) -> None:
        spent = 0.0
        while self.streams and not self._is_closed:
            await asyncio.sleep(max(self._interval, spent * (_MAX_SHARE - 1)))
            started = self._clock()
            await self.tick()
            spent = self._clock() - started

    async def tick(self) -> None:
        """Render every view that has a stream, and wake the streams."""
        for name, known in list(self._views.items()):
            if known.followers:
                try:
                    await self.frame(name)
                except Exception:  # noqa: BLE001 -- whatever it is, the other views go on
                    _log.exception("a view of the dashboard cannot be rendered")
        self.ticks += 1
        if self._ticked is not None:
            ticked, self._ticked = self._ticked, asyncio.Event()
            ticked.set()

    async def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        if self._ticked is not None:
            self._ticked.set()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


def new_number() -> str:
    """Return the number of a frame: no other process makes the same."""
    return secrets.token_hex(6)
