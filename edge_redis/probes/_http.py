"""A probe that sends an HTTP request."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, Literal, TypeAlias, get_args

from edge_redis import __version__
from edge_redis._core import validation
from edge_redis._io.http_post import check_headers
from edge_redis.probes._exchange import Exchange
from edge_redis.probes._no_answer import NoAnswerError
from edge_redis.probes._prober import Prober, Targets, check_context
from edge_redis.probes._target import Target

MAX_ANSWER_BYTES: Final = 16_384
"""Bytes of an answer that are read at most. The status comes first; headers and body are not waited for."""

_PORTS: Final[dict[str, int | None]] = {"http": 80, "https": 443}
Method: TypeAlias = Literal["GET", "HEAD", "OPTIONS"]
"""Methods that change nothing at the node."""
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\n]*)?\r?\n")
_PREFIX: Final = b"HTTP/1."
_FIRST_STATUS: Final = 100
_LAST_STATUS: Final = 599
_FIRST_FINAL: Final = 200
_OWN_HEADERS: Final = frozenset({"host", "connection", "content-length", "transfer-encoding", "upgrade", "expect"})


def read_status(received: bytes) -> int | None:
    """Return the status of an answer that has begun; None: its status line is not complete.

    Raises:
        NoAnswerError: it is no answer of HTTP/1.

    """
    while received:
        line = _STATUS_LINE.match(received)
        if line is None:
            if b"\n" in received or received[: len(_PREFIX)] != _PREFIX[: len(received)]:
                raise NoAnswerError("the answer is not HTTP")
            return None
        status = int(line[1])
        if status >= _FIRST_FINAL:
            return status
        received = received.partition(b"\r\n\r\n")[2]  # an interim answer: the final one follows its headers
    return None


class _Asks:
    def __init__(
        self, method: str, statuses: frozenset[int], headers: Mapping[str, str], context: ssl.SSLContext | None
    ) -> None:
        self._method = method
        self._statuses = statuses
        self._headers = headers
        self._context = context

    def open(self, target: Target) -> Exchange:
        default = _PORTS["https" if target.is_secured else "http"]
        host = target.authority.removesuffix(f":{default}") if target.port == default else target.authority
        fields = {"Host": host, **self._headers, "Connection": "close"}
        lines = [f"{self._method} {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        request = "\r\n".join([*lines, "", ""]).encode("latin-1")
        context = self._context if target.is_secured else None
        return Exchange(context, target.host if context else None, request, MAX_ANSWER_BYTES)

    def is_answer(self, received: bytes, certificate: Mapping[str, Any]) -> bool:  # noqa: ARG002
        status = read_status(received)
        if status is not None and status not in self._statuses:
            raise NoAnswerError(f"HTTP status {status}")
        return status is not None


def _check_statuses(statuses: Iterable[int]) -> frozenset[int]:
    if isinstance(statuses, (str, bytes)) or not isinstance(statuses, Iterable):
        raise validation.type_error("statuses", statuses, "a range or a list of HTTP statuses")
    found = frozenset(
        validation.check_integer("statuses", status, least=_FIRST_FINAL, most=_LAST_STATUS) for status in statuses
    )
    if not found:
        raise validation.value_error("statuses", statuses, "must name at least one status")
    return found


def _make_headers(headers: Mapping[str, str]) -> dict[str, str]:
    checked = check_headers(headers)
    names = {name.lower() for name in checked}
    own = {"User-Agent": f"edge-redis/{__version__}", "Accept": "*/*"}
    for name in checked:
        if name.lower() in _OWN_HEADERS:
            raise validation.value_error("headers", name, "must not have a name that the probe sets itself")
    return {name: value for name, value in own.items() if name.lower() not in names} | checked


class HttpProbe:
    """Ask whether a node answers an HTTP request with an expected status.

    No redirect is followed: its status counts as any other. Neither cookies nor proxies are used. For ``confirm=`` of
    HealthWatch; ``probe.aio`` is for that of ``edge_redis.aio``.

    Args:
        target: ``"http://host:port/path"`` or ``"https://..."``, else as in TcpProbe. ``{node_id}`` in the path stands
            for the quoted id, which cannot end the segment that it stands in.
        method: of the request: "GET", "HEAD" or "OPTIONS".
        statuses: those of a node that is alive.
        headers: further headers of each request. They are sent to whatever host the target has.
        context: for https: the authorities that are trusted and the client's certificate; None: those of the system.
        address_of: as in TcpProbe.
        networks: as in TcpProbe.
        timeout: as in TcpProbe. Of the answer, 16 KiB are read at most.

    """

    def __init__(
        self,
        target: str | Mapping[str, str],
        *,
        method: Method = "GET",
        statuses: Iterable[int] = range(200, 300),
        headers: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
        address_of: Callable[[str], object] | None = None,
        networks: Iterable[str | IPv4Network | IPv6Network] | None = None,
        timeout: float = 3.0,
    ) -> None:
        if method not in get_args(Method):
            raise validation.value_error("method", method, f"must be one of {', '.join(get_args(Method))}")
        targets = Targets(target, _PORTS)
        asks = _Asks(
            method,
            _check_statuses(statuses),
            _make_headers(headers or {}),
            check_context(context) if context is not None or "https" in targets.schemes else None,
        )
        self._prober = Prober(targets, asks, address_of=address_of, networks=networks, timeout=timeout)

    def __call__(self, node_id: str) -> bool:
        """Return whether the node answers with an expected status. Where not, the reason is logged as a warning.

        Raises:
            ProbeRefusedError: the node has no target or address, or one that the probe may not connect to.

        """
        return self._prober.ask(node_id)

    async def aio(self, node_id: str) -> bool:
        """Return whether the node answers with an expected status, as calling the probe does, on an asyncio loop.

        Raises:
            ProbeRefusedError: the node has no target or address, or one that the probe may not connect to.

        """
        return await self._prober.ask_async(node_id)
