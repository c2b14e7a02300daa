"""The timing of one invocation: from an injected monotonic clock to a record."""

from __future__ import annotations

from collections.abc import Callable

from edge_redis._core import validation
from edge_redis._metrics.records import MAX_ERROR_CHARS
from edge_redis.models import InvocationRecord


class Stopwatch:
    """Times invocations of a function on a node."""

    __slots__ = ("_clock", "_function_id", "_node_id")

    def __init__(self, function_id: str, node_id: str, clock: Callable[[], float]) -> None:
        self._function_id = validation.identifier("function_id", function_id)
        self._node_id = validation.identifier("node_id", node_id)
        self._clock = clock

    def start(self) -> float:
        """Return the time to hand to ``stop``."""
        return self._clock()

    def stop(self, started: float, error: BaseException | None) -> InvocationRecord:
        """Return the record of an invocation that ended now, with ``error`` where it failed.

        A generator that its caller closes has not failed.
        """
        if isinstance(error, GeneratorExit):
            error = None
        elapsed_ms = max(0.0, self._clock() - started) * 1000.0
        return InvocationRecord(
            self._function_id,
            self._node_id,
            elapsed_ms,
            error is None,
            error="" if error is None else describe_error(error),
        )


def describe_error(error: BaseException) -> str:
    """Return the type and text of an error, as UTF-8 can carry it."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 -- an error that cannot even say what it is
        text = ""
    kind = type(error).__name__
    whole = f"{kind}: {text}" if text else kind
    return whole[:MAX_ERROR_CHARS].encode(errors="backslashreplace").decode()
