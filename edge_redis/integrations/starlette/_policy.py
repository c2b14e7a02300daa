"""What of HTTP a shared cache has to know (RFC 9110, RFC 9111): which responses are stored, for how long, for whom."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias

from starlette.datastructures import Headers
from starlette.types import Scope

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]

TAG_HEADER: Final = "cache-tag"
"""Names the tags of a stored response. It is not sent to the client."""

_STORABLE: Final = frozenset({200, 203, 204, 300, 301, 308, 404, 410})
_NEVER: Final = ("no-store", "private", "no-cache")
_DIRECTIVE: Final = re.compile(r'([\w-]+)(?:\s*=\s*(?:"([^"]*)"|([^\s,;]*)))?')
_CONDITIONS: Final = (b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since", b"if-range")
_OF_NOT_MODIFIED: Final = frozenset({b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary"})
_SENDS_FILES: Final = ("http.response.pathsend", "http.response.zerocopysend")
_HOP_BY_HOP: Final = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"trailer", b"te"})


def cache_headers(
    seconds: float, *, browser_seconds: float = 0, tags: Iterable[str] = (), vary: Iterable[str] = ()
) -> dict[str, str]:
    """Return the headers of a response that ResponseCache stores for ``seconds``.

    Args:
        seconds: that the response is stored for (``s-maxage``).
        browser_seconds: that a browser may use it without asking (``max-age``); it cannot be invalidated there.
        tags: for ``invalidate_tag``. They are not sent to the client. A tag has no comma.
        vary: request headers that the response depends on.

    """
    headers = {"Cache-Control": f"public, s-maxage={int(seconds)}, max-age={int(browser_seconds)}"}
    if names := ", ".join(tags):
        headers[TAG_HEADER] = names
    if names := ", ".join(vary):
        headers["Vary"] = names
    return headers


@dataclass(frozen=True, slots=True)
class Sharing:
    """Which requests and responses may be shared although they may be personal."""

    authorization: bool
    cookies: bool
    set_cookie: bool


def is_shared_request(scope: Scope, sharing: Sharing) -> bool:
    """Return whether a response to this request may be one that others get as well."""
    headers = Headers(scope=scope)
    return (
        scope["method"] in {"GET", "HEAD"}
        and "range" not in headers
        and (sharing.authorization or "authorization" not in headers)
        and (sharing.cookies or "cookie" not in headers)
        and "no-store" not in read_directives(headers.get("cache-control", ""))
    )


def read_directives(text: str) -> dict[str, str]:
    """Return the directives of a Cache-Control header with their values."""
    return {name.lower(): quoted or plain for name, quoted, plain in _DIRECTIVE.findall(text)}


def storage_seconds(status: int, headers: Headers, default: float | None, sharing: Sharing) -> float | None:
    """Return how long a response may be stored; None where it may not be.

    ``default`` is for a response with status 200 that says nothing about it.
    """
    if status not in _STORABLE or "*" in headers.get("vary", ""):
        return None
    if "set-cookie" in headers and not sharing.set_cookie:
        return None
    directives = read_directives(", ".join(headers.getlist("cache-control")))
    if any(name in directives for name in _NEVER):
        return None
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return _seconds(directives[name])
    return default if status == 200 and "expires" not in headers else None  # noqa: PLR2004 -- OK


def _seconds(text: str) -> float | None:
    return float(text) if text.isdigit() and 0 < int(text) <= 31_536_000 else None  # noqa: PLR2004 -- a year


def vary_names(headers: Headers) -> tuple[str, ...]:
    """Return the request headers that a response depends on, sorted."""
    names = (name.strip().lower() for line in headers.getlist("vary") for name in line.split(","))
    return tuple(sorted({name for name in names if name}))


def tag_names(headers: Headers) -> tuple[str, ...]:
    """Return the tags that a response names."""
    names = (name.strip() for line in headers.getlist(TAG_HEADER) for name in line.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def resource_key(scope: Scope) -> str:
    """Return the key of the resource that a request asks for."""
    headers = Headers(scope=scope)
    path = scope.get("raw_path") or scope["path"].encode()
    parts = (scope.get("scheme", "http").encode(), headers.get("host", "").lower().encode("latin-1"), path)
    query = scope.get("query_string", b"")
    name = f"{scope['path']}?{query.decode('latin-1')}" if query else scope["path"]
    return f"{_digest(b'/'.join(parts) + b'?' + query)} {name[:200]}"


def variant_key(resource: str, names: Iterable[str], generation: str, scope: Scope) -> str:
    """Return the key of the variant of a resource that a request asks for."""
    headers = Headers(scope=scope)
    values = (f"{name}:{','.join(headers.getlist(name))}" for name in names)
    return f"{_digest(chr(10).join(values).encode())} {generation} {resource}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def make_unconditional(scope: Scope) -> Scope:
    """Return a request for the whole response, in messages that have its body."""
    extensions = {name: value for name, value in scope.get("extensions", {}).items() if name not in _SENDS_FILES}
    headers = [pair for pair in scope["headers"] if pair[0] not in _CONDITIONS]
    return {**scope, "headers": headers, "extensions": extensions}


def is_stored_header(name: bytes) -> bool:
    """Return whether a header is stored with the response."""
    return name not in _HOP_BY_HOP and name not in {b"age", b"cache-status", TAG_HEADER.encode()}


def is_not_modified(scope: Scope, stored: Mapping[str, str]) -> bool:
    """Return whether the client has this response already (RFC 9110, 13.2.2)."""
    request = Headers(scope=scope)
    if "if-none-match" in request:
        wanted = [tag.strip().removeprefix("W/") for tag in request["if-none-match"].split(",")]
        return "*" in wanted or stored.get("etag", "").removeprefix("W/") in wanted
    if "if-modified-since" in request and "last-modified" in stored:
        try:
            since = parsedate_to_datetime(request["if-modified-since"])
            return parsedate_to_datetime(stored["last-modified"]) <= since
        except (TypeError, ValueError):
            return False
    return False


def is_of_not_modified(name: bytes) -> bool:
    """Return whether a 304 carries a header of the response."""
    return name in _OF_NOT_MODIFIED
