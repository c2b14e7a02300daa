"""A probe that makes a TLS handshake and looks at the certificate."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

from edge_redis._core import validation, wall_clock
from edge_redis.errors import InvalidArgumentError
from edge_redis.probes._exchange import Exchange
from edge_redis.probes._no_answer import NoAnswerError
from edge_redis.probes._prober import Prober, Targets, check_context
from edge_redis.probes._target import Target

_PORTS: Final[dict[str, int | None]] = {"tls": None}
_DAY_SECONDS: Final = 86_400


class _Verifies:
    def __init__(self, context: ssl.SSLContext, min_days: float) -> None:
        self._context = context
        self._min_days = min_days

    def open(self, target: Target) -> Exchange:
        return Exchange(self._context, target.host)

    def is_answer(self, received: bytes, certificate: Mapping[str, Any]) -> bool:  # noqa: ARG002 -- the handshake is all
        left = ssl.cert_time_to_seconds(certificate["notAfter"]) - wall_clock.now().timestamp()
        if left < self._min_days * _DAY_SECONDS:
            raise NoAnswerError(f"its certificate expires in {left / _DAY_SECONDS:.1f} days")
        return True


class TlsProbe:
    """Ask whether a node makes a TLS handshake with a certificate that is valid, for its host and for long enough.

    For ``confirm=`` of HealthWatch; ``probe.aio`` is for that of ``edge_redis.aio``.

    Args:
        target: ``"host:port"``, also with ``tls://`` before it; else as in TcpProbe. The certificate must be issued for
            this host.
        min_days: the days for which the certificate must still be valid.
        context: the authorities that are trusted and the client's certificate; None: those of the system. It must
            verify certificates and host names.
        address_of: as in TcpProbe.
        networks: as in TcpProbe.
        timeout: as in TcpProbe.

    """

    def __init__(
        self,
        target: str | Mapping[str, str],
        *,
        min_days: float = 0.0,
        context: ssl.SSLContext | None = None,
        address_of: Callable[[str], object] | None = None,
        networks: Iterable[str | IPv4Network | IPv6Network] | None = None,
        timeout: float = 3.0,
    ) -> None:
        checked = check_context(context)
        if checked.verify_mode is not ssl.CERT_REQUIRED or not checked.check_hostname:
            raise InvalidArgumentError("context must verify certificates and host names")
        verifies = _Verifies(checked, validation.check_non_negative("min_days", min_days))
        targets = Targets(target, _PORTS, scheme="tls")
        self._prober = Prober(targets, verifies, address_of=address_of, networks=networks, timeout=timeout)

    def __call__(self, node_id: str) -> bool:
        """Return whether the node's certificate is valid. Where it is not, the reason is logged as a warning.

        Raises:
            ProbeRefusedError: the node has no target or address, or one that the probe may not connect to.

        """
        return self._prober.ask(node_id)

    async def aio(self, node_id: str) -> bool:
        """Return whether the node's certificate is valid, as calling the probe does, on an asyncio loop.

        Raises:
            ProbeRefusedError: the node has no target or address, or one that the probe may not connect to.

        """
        return await self._prober.ask_async(node_id)
