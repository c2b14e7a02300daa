"""The timing of invocations: from an injected monotonic clock to records."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from edge_redis._core import validation, wall_clock
from edge_redis._core.error_text import describe_error
from edge_redis._metrics.records import MAX_ERROR_CHARS, make_record
from edge_redis.models import InvocationRecord

_CANCELLATIONS: Final = frozenset({"CancelledError", "Cancelled"})
"""Names of the exceptions by which asyncio and trio cancel a task; this package imports neither."""


class Stopwatch:
    """Times invocations of a function on a node."""

    __slots__ = ("_function_id", "_node_id", "start")

    def __init__(self, function_id: str, node_id: str, clock: Callable[[], float]) -> None:
        self._function_id = validation.check_identifier("function_id", function_id)
        self._node_id = validation.check_identifier("node_id", node_id)
        self.start = clock
        """Returns the time to hand to ``stop``."""

    def stop(self, started: float, error: BaseException | None) -> InvocationRecord:
        """Return the record of an invocation that ended now, by ``error`` unless that is None."""
        elapsed_ms = max(0.0, self.start() - started) * 1000.0
        success = error is None or is_regular_end(error)
        text = "" if error is None or success else describe_error(error, MAX_ERROR_CHARS)
        return make_record(self._function_id, self._node_id, elapsed_ms, success, wall_clock.now(), text)


def is_regular_end(error: BaseException) -> bool:
    """Return whether an exception ends an invocation that has not failed.

    A generator that is closed early, a task that is cancelled, and an exit with status 0.
    """
    if isinstance(error, SystemExit):
        return error.code is None or error.code == 0
    if isinstance(error, Exception):
        return False
    return isinstance(error, GeneratorExit) or any(base.__name__ in _CANCELLATIONS for base in type(error).__mro__)


class _Span:
    """One timed block, in two linked lists: of its frame and of its context, each with the latest block first."""

    __slots__ = ("enclosing", "frame_id", "outer", "owner", "started")

    def __init__(
        self, owner: OpenSpans, started: float, frame_id: int, enclosing: _Span | None, outer: _Span | None
    ) -> None:
        self.owner = owner
        self.started: float | None = started
        """None once the block has ended."""
        self.frame_id = frame_id
        self.enclosing = enclosing
        """The block of the same owner that was entered before from the same frame."""
        self.outer = outer
        """The block of any owner that was entered before in the same context (thread or task)."""


_latest_of_context: Final[ContextVar[_Span | None]] = ContextVar("edge_redis_span", default=None)


class OpenSpans(dict[int, _Span]):
    """The blocks that one tracking object times at this moment, in any number of threads and tasks.

    Maps the id of a frame to the block that was entered last from it.

    A ``with`` statement enters and exits from one frame, which identifies its block even where
    generators interleave. An ``ExitStack`` exits from another frame than it enters from; then the
    block is the one that was entered last in the same context (thread or task).
    """

    __slots__ = ()

    def begin(self, frame_id: int, started: float) -> None:
        """Add a block that is entered from the frame with this id."""
        outer = _latest_of_context.get()
        if outer is not None:  # unlinks ended blocks, so that the list does not grow
            outer.outer = outer.outer and _skip_ended(outer.outer)
            if outer.started is None:
                outer = outer.outer
        span = _Span(self, started, frame_id, self.get(frame_id), outer)
        self[frame_id] = span
        _latest_of_context.set(span)

    def end(self, frame_id: int) -> float | None:
        """Remove the block that is left from the frame with this id; return when it was entered, None without one."""
        span = self.get(frame_id)
        if span is None:
            span = self._find_in_context() or self._find_latest()
            if span is None:
                return None
            self._unlink(span)
        elif span.enclosing is None:
            self.pop(frame_id, None)
        else:
            self[frame_id] = span.enclosing
        started, span.started = span.started, None
        return started

    def _unlink(self, span: _Span) -> None:
        latest = self.get(span.frame_id)
        if latest is span:
            if span.enclosing is None:
                self.pop(span.frame_id, None)
            else:
                self[span.frame_id] = span.enclosing
        while latest is not None:
            if latest.enclosing is span:
                latest.enclosing = span.enclosing
            latest = latest.enclosing

    def _find_in_context(self) -> _Span | None:
        span = _latest_of_context.get()
        while span is not None and (span.owner is not self or span.started is None):
            span = span.outer
        return span

    def _find_latest(self) -> _Span | None:
        return next(iter(list(self.values())[::-1]), None)


def _skip_ended(span: _Span | None) -> _Span | None:
    """Return the first block of a context's list that has not ended."""
    while span is not None and span.started is None:
        span = span.outer
    return span
