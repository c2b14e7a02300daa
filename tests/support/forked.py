"""Processes for tests, forked from one server process that has loaded the package: a tenth of the cost of a new one."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext


def fork_server() -> ForkServerContext:
    """Return the context of processes that a test starts. They begin without threads and clients of the test's."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["pytest", "hypothesis", "fakeredis", "redis", "edge_redis._services.blocking.bundle"]
    )
    return context
