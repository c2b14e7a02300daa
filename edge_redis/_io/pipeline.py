"""The requests on a connection that many callers share: which are written next, which the next reply answers. No I/O.

A server answers in the order of the requests, so replies need no name. A bounded number of requests and
bytes is under way at a time; the others wait in the order in which they came. A caller that is gone
(cancelled, timed out) loses its request if that was not written yet; otherwise the reply is read and dropped.

An exception from a signal handler may end any method at any line. If the connection is closed then, each
request is still in one of the two queues or was answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

MAX_REQUESTS: Final = 512
"""Requests under way at a time."""

MAX_BYTES: Final = 256 * 1024
"""Bytes of the requests under way; one request of its own may have more."""

BATCH_REQUESTS: Final = 64
"""Requests that are written in one go, so that the server works while the next ones are packed."""


class Future(Protocol):
    """The part of ``asyncio.Future`` that is used here."""

    def done(self) -> bool:
        """Return whether it has a result, or its caller is gone."""

    def set_result(self, result: Any, /) -> None:
        """Give the caller its reply, or its error as a value: one that nobody raises is not logged."""


class Request:
    """The commands of one call, packed, and the replies that have come to them."""

    __slots__ = ("data", "future", "missing", "replies", "since", "tag")

    def __init__(self, data: bytes, future: Future, since: float, commands: int | None = None, tag: Any = None) -> None:
        self.data = data
        self.future = future
        self.since = since
        """When it was added, then when it was written."""
        self.missing = commands or 1
        self.replies: list[Any] | None = None if commands is None else []
        """The replies to several commands, error replies among them."""
        self.tag = tag
        """Anything by which the driver knows the request."""

    def receive(self, reply: Any) -> bool:
        """Take the next reply; return whether it was the last."""
        if self.replies is not None:
            self.replies.append(reply)
            self.missing -= 1
            if self.missing:
                return False
            reply = self.replies
        if not self.future.done():
            self.future.set_result(reply)
        return True


class Pipeline:
    """The requests of one connection: those that wait, and those that were written and not answered."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()
        self._sent: deque[Request] = deque()
        self.sent_bytes = 0
        """The bytes of what was written and not answered yet."""

    @property
    def waiting(self) -> int:
        """How many requests were not written yet."""
        return len(self._waiting)

    @property
    def sent(self) -> int:
        """How many requests were written and not answered yet."""
        return len(self._sent)

    def add(self, request: Request) -> None:
        """Queue a request."""
        self._waiting.append(request)

    def add_sent(self, request: Request) -> None:
        """Note a request that is written ahead of those that wait."""
        self._sent.append(request)
        self.sent_bytes += len(request.data)

    def next_batch(self, now: float) -> bytes:
        """Return the bytes to write next; none where nothing waits or enough is under way."""
        waiting = self._waiting
        batch: list[bytes] = []
        while waiting and len(batch) < BATCH_REQUESTS and self._fits(waiting[0]):
            request = waiting[0]
            if not request.future.done():
                request.since = now
                self.add_sent(request)  # before it is taken from those that wait: an interruption must not lose it
                batch.append(request.data)
            waiting.popleft()
        return batch[0] if len(batch) == 1 else b"".join(batch)

    def _fits(self, request: Request) -> bool:
        sent = len(self._sent)
        return not sent or (sent < MAX_REQUESTS and self.sent_bytes + len(request.data) <= MAX_BYTES)

    def receive(self, reply: Any) -> Request:
        """Give a reply to the request that it answers, and return that request.

        Raises:
            IndexError: nothing was asked.

        """
        request = self._sent[0]
        if request.receive(reply):
            self._sent.popleft()
            self.sent_bytes -= len(request.data)
        return request

    def fail_sent(self, make_error: Callable[[], Exception]) -> None:
        """Fail the callers of what was written, which may have taken effect; each gets an error of its own."""
        _fail(self._sent, make_error)
        self.sent_bytes = 0

    def fail_waiting(self, make_error: Callable[[], Exception]) -> None:
        """Fail the callers of what was not written; each gets an error of its own."""
        _fail(self._waiting, make_error)

    def oldest_sent(self) -> float | None:
        """Return when the oldest request that is not answered yet was written."""
        return self._sent[0].since if self._sent else None

    def expire_sent(self, before: float, make_error: Callable[[], Exception]) -> None:
        """Fail the callers whose requests were written before a time; their replies are still to be read."""
        _expire(self._sent, before, make_error)

    def expire_waiting(self, before: float, make_error: Callable[[], Exception]) -> None:
        """Fail the callers whose requests wait since before a time; those are not written any more."""
        _expire(self._waiting, before, make_error)


def _fail(requests: deque[Request], make_error: Callable[[], Exception]) -> None:
    while requests:
        _answer(requests[0], make_error)
        requests.popleft()


def _expire(requests: deque[Request], before: float, make_error: Callable[[], Exception]) -> None:
    for request in requests:
        if request.since >= before:
            return
        _answer(request, make_error)


def _answer(request: Request, make_error: Callable[[], Exception]) -> None:
    if not request.future.done():
        request.future.set_result(make_error())
