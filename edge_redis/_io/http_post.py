"""One HTTP POST with a deadline for all of it, and without redirects."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from edge_redis._core import validation
from edge_redis.errors import DeliveryError, InvalidArgumentError

MAX_URL_BYTES: Final = 8192

REFUSALS: Final = frozenset({400, 405, 406, 410, 411, 413, 414, 415, 422})
"""Statuses that mean: sending the same request again will fail again."""

_URL: Final = re.compile(r"[!-~]+")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")


def check_url(url: object) -> str:
    """Return a URL that a request can be sent to. Errors do not show the URL, which may hold a password."""
    text = validation.check_identifier("url", url, limit=MAX_URL_BYTES)
    if not text.lower().startswith(("http://", "https://")):
        raise validation.value_error("url", text.partition(":")[0], "must begin with http:// or https://")
    if not _URL.fullmatch(text):
        raise InvalidArgumentError("url must not contain spaces, control or non-ASCII characters")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidArgumentError(f"url cannot be parsed: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise InvalidArgumentError("url must not contain a user or password: use headers=")
    if not host or port == 0:
        raise InvalidArgumentError("url must have a host, and a port other than 0")
    return text


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers that can be sent."""
    validation.check_instance("headers", headers, Mapping)
    for name, value in headers.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name)):
            raise validation.value_error("headers", name, "must have names that HTTP allows")
        if not (isinstance(value, str) and _HEADER_VALUE.fullmatch(value)):
            raise InvalidArgumentError(f"headers must have values that HTTP allows: that of {name} is not one")
    return dict(headers)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:  # None: the answer is the redirect itself
        return None


class _Tracking:
    """Remembers the connections that a handler opens, so that they can be closed at the deadline."""

    connections: list[http.client.HTTPConnection]

    def do_open(self, http_class: Callable[..., http.client.HTTPConnection], req: Any, **options: Any) -> Any:
        def connect(*args: Any, **kwargs: Any) -> http.client.HTTPConnection:
            made = http_class(*args, **kwargs)
            self.connections.append(made)
            return made

        return super().do_open(connect, req, **options)  # type: ignore[misc]


class _HTTPHandler(_Tracking, urllib.request.HTTPHandler):
    pass


class _HTTPSHandler(_Tracking, urllib.request.HTTPSHandler):
    pass


def _is_timeout(error: Exception | None) -> bool:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return isinstance(reason, TimeoutError)


class Post:
    """A POST request, sent in a thread of its own: no step of it can block the caller beyond the deadline."""

    def __init__(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> None:
        self._request = urllib.request.Request(url, body, dict(headers), method="POST")  # noqa: S310 -- see check_url
        self._timeout = timeout
        self._connections: list[http.client.HTTPConnection] = []
        self._error: Exception | None = None

    def send(self) -> None:
        """Send the request.

        Raises:
            DeliveryError: the status is not a success, or there was no answer in time.

        """
        thread = threading.Thread(target=self._send, name="edge-redis-webhook", daemon=True)
        thread.start()
        thread.join(self._timeout)
        if thread.is_alive() or _is_timeout(self._error):
            self._abort()
            raise DeliveryError(f"no answer within {self._timeout:g} s")
        if isinstance(self._error, urllib.error.HTTPError):
            raise _make_error(self._error) from None
        if self._error is not None:
            raise DeliveryError(f"the request failed: {self._error}") from self._error

    def _send(self) -> None:
        handlers = [_NoRedirects(), _HTTPHandler(), _HTTPSHandler()]
        for handler in handlers[1:]:
            handler.connections = self._connections  # type: ignore[attr-defined]
        try:
            with urllib.request.build_opener(*handlers).open(self._request, timeout=self._timeout):
                pass
        except Exception as error:  # noqa: BLE001 -- raised again in the caller's thread
            self._error = error

    def _abort(self) -> None:
        for connection in self._connections:
            with suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)


def _make_error(answer: urllib.error.HTTPError) -> DeliveryError:
    with answer:
        text = f"HTTP status {answer.code} {answer.reason}"
        location = answer.headers.get("Location")
        if location and 300 <= answer.code < 400:  # noqa: PLR2004 -- the statuses of redirects
            text += f": redirects are not followed, use the URL {location!r} itself"
        pause = _parse_retry_after(answer.headers.get("Retry-After"))
    return DeliveryError(text, retry_after_seconds=pause, refused=answer.code in REFUSALS)


def _parse_retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which has seconds or a date; None if it has neither."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
