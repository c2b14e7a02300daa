"""The address that a node has in its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_redis._core import validation
from edge_redis._io.user_functions import is_coroutine_function

if TYPE_CHECKING:
    from edge_redis import HealthMonitor, aio


class MetadataAddress:
    """Read the address of a node from its metadata, for ``address_of=`` of a probe.

    Every process that may register a node can write there. A probe takes the value for a host name or an IP address,
    never for a port or a path, and connects to it only if it is in the probe's ``networks``.

    Args:
        monitor: a HealthMonitor. One of ``edge_redis.aio`` is for the probe's method ``aio``.
        key: the key of the metadata that holds the address.

    """

    def __init__(self, monitor: HealthMonitor | aio.HealthMonitor, key: str = "address") -> None:
        self._monitor: Any = monitor
        self._key = validation.check_identifier("key", key)

    def __call__(self, node_id: str) -> Any:
        """Return the address, or an awaitable of it; None where the node is not registered or names no address.

        Raises:
            CorruptDataError: the node's record does not decode.

        """
        if is_coroutine_function(self._monitor.get_node):
            return self._read(node_id)
        return self._pick(self._monitor.get_node(node_id))

    async def _read(self, node_id: str) -> Any:
        return self._pick(await self._monitor.get_node(node_id))

    def _pick(self, node: Any) -> Any:
        return None if node is None else node.metadata.get(self._key)
