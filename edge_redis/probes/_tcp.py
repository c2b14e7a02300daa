"""A probe that connects by TCP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

from edge_redis.probes._exchange import Exchange
from edge_redis.probes._prober import Prober, Targets
from edge_redis.probes._target import Target

_PORTS: Final[dict[str, int | None]] = {"tcp": None}


class _Connects:
    def open(self, target: Target) -> Exchange:  # noqa: ARG002 -- nothing is said
        return Exchange()

    def is_answer(self, received: bytes, certificate: Mapping[str, Any]) -> bool:  # noqa: ARG002
        return True


class TcpProbe:
    """Ask whether a node accepts TCP connections. The connection is closed at once.

    For ``confirm=`` of HealthWatch; ``probe.aio`` is for that of ``edge_redis.aio``.

    Args:
        target: ``"host:port"``, also with ``tcp://`` before it, for all nodes; or a mapping of node ids to such
            targets, for no other nodes. ``{node_id}`` in the host stands for the node's id: for all of a host name,
            or for a part, where the id may have letters, digits, ``-`` and ``_``. ``{address}`` as the host stands
            for what ``address_of`` returns.
        address_of: a function that returns a node's host name or IP address by its id, such as MetadataAddress, or
            None for a node that has none; for targets with ``{address}``, and only with ``networks``.
        networks: the networks that the node's addresses must be in, such as ``["10.8.0.0/16"]``; None: private ones
            (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7). Every address that the host's name has is compared,
            and the connection goes to one of these. Unspecified, loopback, link-local, multicast, reserved and cloud
            metadata addresses, and IPv6 addresses that are translated to IPv4, must be in a network that names no
            others. An IP address that is written in the target is not compared.
        timeout: seconds for all of it, from the look-up of the name to the answer.

    """

    def __init__(
        self,
        target: str | Mapping[str, str],
        *,
        address_of: Callable[[str], object] | None = None,
        networks: Iterable[str | IPv4Network | IPv6Network] | None = None,
        timeout: float = 3.0,
    ) -> None:
        targets = Targets(target, _PORTS, scheme="tcp")
        self._prober = Prober(targets, _Connects(), address_of=address_of, networks=networks, timeout=timeout)

    def __call__(self, node_id: str) -> bool:
        """Return whether the node accepts a connection. Where it does not, the reason is logged as a warning.

        Raises:
            ProbeRefusedError: the node has no target or address, or one that the probe may not connect to.

        """
        return self._prober.ask(node_id)

    async def aio(self, node_id: str) -> bool:
        """Return whether the node accepts a connection, as calling the probe does, on an asyncio loop.

        Raises:
            ProbeRefusedError: the node has no target or address, or one that the probe may not connect to.

        """
        return await self._prober.ask_async(node_id)
