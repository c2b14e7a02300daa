"""The timing of invocations: from an injected monotonic clock to records."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Final

from edge_redis._core import validation
from edge_redis._metrics.records import MAX_ERROR_CHARS
from edge_redis.models import InvocationRecord

_CANCELLATIONS: Final = frozenset({"CancelledError", "Cancelled"})
"""Names of the exceptions by which asyncio and trio cancel a task; this package imports neither."""


class Stopwatch:
    """Times invocations of a function on a node."""

    __slots__ = ("_clock", "_function_id", "_node_id")

    def __init__(self, function_id: str, node_id: str, clock: Callable[[], float]) -> None:
        self._function_id = validation.check_identifier("function_id", function_id)
        self._node_id = validation.check_identifier("node_id", node_id)
        self._clock = clock

    def start(self) -> float:
        """Return the time to hand to ``stop``."""
        return self._clock()

    def stop(self, started: float, error: BaseException | None) -> InvocationRecord:
        """Return the record of an invocation that ended now, by ``error`` unless that is None."""
        elapsed_ms = max(0.0, self._clock() - started) * 1000.0
        if error is None or is_regular_end(error):
            return InvocationRecord(self._function_id, self._node_id, elapsed_ms, success=True)
        text = describe_error(error)
        return InvocationRecord(self._function_id, self._node_id, elapsed_ms, success=False, error=text)


def is_regular_end(error: BaseException) -> bool:
    """Return whether an exception ends an invocation that has not failed.

    A generator that is closed early, a task that is cancelled, and an exit with status 0.
    """
    if isinstance(error, SystemExit):
        return error.code is None or error.code == 0
    if isinstance(error, Exception):
        return False
    return isinstance(error, GeneratorExit) or any(base.__name__ in _CANCELLATIONS for base in type(error).__mro__)


def describe_error(error: BaseException) -> str:
    """Return the type and text of an error, in characters that UTF-8 can encode."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 -- an error that has no text
        text = ""
    kind = type(error).__name__
    return (f"{kind}: {text}" if text else kind)[:MAX_ERROR_CHARS].encode(errors="backslashreplace").decode()


@dataclass(frozen=True, slots=True, eq=False)
class _Span:
    frame_id: int
    started: float


_spans_of_context: Final[ContextVar[tuple[_Span, ...]]] = ContextVar("edge_redis_spans", default=())


class OpenSpans:
    """The blocks that one tracking object times at this moment, in any number of threads and tasks.

    A ``with`` statement enters and exits from one frame, which identifies its block even where
    generators interleave. An ``ExitStack`` exits from another frame than it enters from; then the
    block is the one that was entered last in the same context (thread or task).
    """

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: dict[_Span, None] = {}

    def begin(self, frame: FrameType, started: float) -> None:
        """Add a block that is entered from ``frame``."""
        span = _Span(id(frame), started)
        self._spans[span] = None
        _spans_of_context.set((*_spans_of_context.get(), span))

    def end(self, frame: FrameType) -> float | None:
        """Remove the block that is left from ``frame``; return when it was entered, None where there is none."""
        span = self._find(id(frame))
        if span is None:
            return None
        self._spans.pop(span, None)
        in_context = _spans_of_context.get()
        if span in in_context:
            _spans_of_context.set(tuple(each for each in in_context if each is not span))
        return span.started

    def _find(self, frame_id: int) -> _Span | None:
        latest = list(self._spans)[::-1]
        of_frame = next((span for span in latest if span.frame_id == frame_id), None)
        if of_frame is not None:
            return of_frame
        of_context = next((span for span in reversed(_spans_of_context.get()) if span in self._spans), None)
        return of_context or next(iter(latest), None)
