"""One run of the application for a response that may be stored, and the answer from a stored one."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_redis.integrations.starlette import _policy as policy

StoredResponse: TypeAlias = tuple[str, int, tuple[tuple[bytes, bytes], ...], bytes, float, float]
"""Kind, status, headers, body, when it was stored (Unix time), and for how many seconds."""

_RESPONSE: Final = "response"
_FIELDS: Final = 6


@dataclass(frozen=True, slots=True)
class StorableResponse:
    """A response that may be stored."""

    response: StoredResponse
    seconds: float
    vary: tuple[str, ...]
    tags: tuple[str, ...]


class Exchange:
    """Runs the application for one request, and holds its response back until it is known whether to store it.

    A response that is not stored goes to the client as it comes.
    """

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        receive: Receive,
        send: Send,
        seconds_of: Callable[[int, Headers], float | None],
        max_body_bytes: int,
    ) -> None:
        self._app, self._scope, self._receive, self._send = app, scope, receive, send
        self._seconds_of = seconds_of
        self._max_body_bytes = max_body_bytes
        self._task: asyncio.Task[None] | None = None
        self._outcome: asyncio.Future[StorableResponse | None] = asyncio.get_running_loop().create_future()
        self._start: Message | None = None
        self._body = bytearray()
        self._seconds = 0.0
        self.is_passed = False
        """Whether the response is not to be stored."""
        self.status = 500
        self.tags: tuple[str, ...] = ()

    @property
    def is_started(self) -> bool:
        """Whether the application runs, or ran, for this request."""
        return self._task is not None

    async def run(self) -> StorableResponse | None:
        """Start the application; return the response to store, or None as soon as it is known that there is none.

        Raises:
            Exception: of the application.

        """
        scope = policy.make_unconditional(self._scope)
        self._task = asyncio.get_running_loop().create_task(self._app(scope, self._receive, self._hold))  # type: ignore[arg-type]
        await asyncio.wait((self._task, self._outcome), return_when=asyncio.FIRST_COMPLETED)
        if not self._outcome.done():
            await self._task  # raises what the application raised
            self.is_passed = True  # or it ended without a response
            return None
        return self._outcome.result()

    async def finish(self) -> None:
        """Send what was held back, and wait until the application has ended.

        Raises:
            Exception: of the application.

        """
        assert self._task is not None
        try:
            if self._outcome.done() and (made := self._outcome.result()) is not None:
                await send_stored(made.response, self._scope, self._send, "fwd=uri-miss")
            await self._task
        except BaseException:
            await self.cancel()
            raise

    async def cancel(self) -> None:
        """End the application's run, as the request has ended."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _hold(self, message: Message) -> None:
        if self.is_passed:
            await self._send(message)
        elif message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if len(self._body) > self._max_body_bytes:
                await self._let_pass(more_body=message.get("more_body", False))
            elif not message.get("more_body", False):
                self._complete()
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        self._start, self.status = message, message["status"]
        headers = Headers(raw=list(message.get("headers", ())))
        seconds = self._seconds_of(message["status"], headers)
        if seconds is None:
            self.is_passed = True
            self._outcome.set_result(None)
            await self._send(self._public(message))
        else:
            self._seconds = seconds
            self.tags = policy.tag_names(headers)

    async def _let_pass(self, *, more_body: bool) -> None:
        """Send what was held back: the response is too large to store."""
        assert self._start is not None
        self.is_passed = True
        self._outcome.set_result(None)
        await self._send(self._public(self._start))
        await self._send({"type": "http.response.body", "body": bytes(self._body), "more_body": more_body})
        self._body.clear()

    def _complete(self) -> None:
        assert self._start is not None
        raw = [(name.lower(), value) for name, value in self._start.get("headers", ())]
        headers, body = Headers(raw=raw), bytes(self._body)
        stored = [(name, value) for name, value in raw if policy.is_stored_header(name)]
        if "etag" not in headers:
            stored.append((b"etag", f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode()))
        response = (_RESPONSE, self._start["status"], tuple(stored), body, time.time(), self._seconds)
        self._outcome.set_result(StorableResponse(response, self._seconds, policy.vary_names(headers), self.tags))

    @staticmethod
    def _public(message: Message) -> Message:
        """Return the start of a response without the tags, which are nobody else's."""
        tag = policy.TAG_HEADER.encode()
        return {**message, "headers": [pair for pair in message.get("headers", ()) if pair[0].lower() != tag]}


def is_response(found: Any) -> bool:
    """Return whether what an entry holds is a stored response."""
    return isinstance(found, tuple) and len(found) == _FIELDS and found[0] == _RESPONSE


async def send_stored(stored: StoredResponse, scope: Scope, send: Send, status_text: str) -> None:
    """Answer a request by a stored response: whole, without its body (HEAD), or by 304 where the client has it."""
    _, status, headers, body, stored_at, seconds = stored
    age = max(0, int(time.time() - stored_at))
    own = [
        (b"age", str(age).encode()),
        (b"cache-status", f"edge-redis; {status_text}; ttl={max(0, int(seconds) - age)}".encode()),
    ]
    known = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    if policy.is_not_modified(scope, known):
        kept = [pair for pair in headers if policy.is_of_not_modified(pair[0])]
        await send({"type": "http.response.start", "status": 304, "headers": [*kept, *own]})
        body = b""
    else:
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *own]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
