"""Names of the runners under one module, until their importers use the modules that define them."""

from edge_redis._io.asyncio_runner import AsyncRunner, run_once_in_a_new_loop, yield_to_loop
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.clients import AsyncClient, BlockingClient, is_cluster

__all__ = [
    "AsyncClient",
    "AsyncRunner",
    "BlockingClient",
    "BlockingRunner",
    "is_cluster",
    "run_once_in_a_new_loop",
    "yield_to_loop",
]
