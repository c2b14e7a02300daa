"""The outcome of a computation, for the caller that made it and for those that waited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_redis._cache.entry import decode_body
from edge_redis._core.error_text import describe_error
from edge_redis.errors import ComputeFailedError


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a computation: a value, or an error, or neither if the leading caller gave up."""

    value: Any = None
    """The value, for the caller that computed it."""
    body: bytes | None = None
    """The encoded value, from which each waiter decodes a copy; None if it cannot be encoded."""
    has_value: bool = False
    error: Exception | None = None
    newer: bytes | None = None
    """The encoded value that another caller has written meanwhile: it wins, so the waiters get it."""
    is_outdated: bool = False
    """Whether the entry was removed meanwhile, so that callers who came later need a newer value."""
    is_from_compute: bool = False
    """Whether the error is that of the user's function."""

    @property
    def is_abandoned(self) -> bool:
        """Whether there is neither value nor error, so that another caller must take over."""
        return not self.has_value and self.error is None

    def give_to_waiter(self, key: str, decode: Callable[[bytes], Any]) -> Any:
        """Return a copy of the value, or raise the error of the caller that computed."""
        if self.newer is not None:
            return decode_body(self.newer, decode)
        if self.error is None:
            return self.value if self.body is None else decode_body(self.body, decode)
        if self.is_from_compute:
            raise ComputeFailedError(f"computing {key!r} has failed: {describe_error(self.error)}") from self.error
        raise type(self.error)(*self.error.args) from self.error
