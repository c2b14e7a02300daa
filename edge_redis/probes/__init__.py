"""Probes of nodes over the network, for ``confirm=`` of HealthWatch: TCP, HTTP, and TLS with the certificate's expiry.

    from edge_redis import HealthWatch
    from edge_redis.probes import HttpProbe

    probe = HttpProbe("http://{node_id}.shop.internal:8080/health")
    watch = HealthWatch(client, 60, suspicion_seconds=10, confirm=probe)      # edge_redis.aio: confirm=probe.aio

The operator's target says where a probe connects. What a node says of itself is used only where the target has a
placeholder for it, and cannot change the rest of the target. Before it connects, a probe resolves the name once and
compares every address with the networks that the operator allows; it connects to an address that was compared.
"""

from edge_redis._core.public import publish
from edge_redis.probes._http import HttpProbe
from edge_redis.probes._metadata import MetadataAddress
from edge_redis.probes._tcp import TcpProbe
from edge_redis.probes._tls import TlsProbe

__all__ = ["HttpProbe", "MetadataAddress", "TcpProbe", "TlsProbe"]

publish(__name__, globals(), __all__)
