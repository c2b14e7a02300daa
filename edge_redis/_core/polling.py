"""Reads a source again and again, with a pause after each read that found nothing."""

from __future__ import annotations

from edge_redis._core import validation
from edge_redis._core.operation import Sleep


class Polling:
    """The pauses of a reader, and its end.

    Args:
        timeout: seconds without anything found after which the reader ends; None: never.
        poll_seconds: of each pause.

    Raises:
        InvalidArgumentError, InvalidTypeError: one of them is no positive number.

    """

    def __init__(self, timeout: float | None, poll_seconds: float) -> None:
        self._timeout = None if timeout is None else validation.check_positive("timeout", timeout)
        self.seconds = validation.check_positive("poll_seconds", poll_seconds)
        """Of each pause."""
        self._idle = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nothing was found within the timeout."""
        return self._timeout is not None and self._idle >= self._timeout

    def reset(self) -> None:
        """Begin the timeout again: something was found."""
        self._idle = 0.0

    async def pause(self) -> None:
        """Wait before the next read: nothing was found."""
        await Sleep(self.seconds)
        self._idle += self.seconds
