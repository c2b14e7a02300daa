"""Compares calls of the services with the plain commands that a program without them would send, on one server."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from edge_redis._core.keys import KeySpace
from edge_redis._io.error_mapping import LIBRARY_ERRORS, translate
from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis.models import EdgeNode, InvocationRecord

CALLS: Final = 25
"""Calls between two readings of the clock. Both sides take turns, so that both meet the same load."""
_NODE: Final = "node"
_VALUE: Final = {"price": 320, "name": "bread", "tags": ["food", "fresh"]}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The time of one call of a service, and that of the plain command, in microseconds."""

    operation: str
    command: str
    service_us: float
    command_us: float
    calls: int

    @property
    def ratio(self) -> float:
        """How many times the command's time the service takes."""
        return self.service_us / self.command_us


@dataclass(frozen=True, slots=True)
class _Case:
    operation: str
    command: str
    call_service: Callable[[], object]
    call_command: Callable[[], object]
    finish: Callable[[], object] = lambda: None
    """Ends a turn of the service, such as a flush of its buffer."""


@contextmanager
def own_namespace(client: Any) -> Iterator[EdgeRedis]:
    """Open the services of a new namespace, and remove all its keys at the end."""
    with EdgeRedis(client, namespace=f"bench-{secrets.token_hex(6)}") as edge:
        try:
            yield edge
        finally:
            edge.drop_namespace()


def compare(edge: EdgeRedis, seconds: float) -> Iterator[Comparison]:
    """Yield the comparison of each operation; all together take about ``seconds``.

    Raises:
        StoreError: the server cannot be reached, or refuses.

    """
    try:
        cases = list(_cases(edge))
        for case in cases:
            yield _measure(case, seconds / len(cases))
    except LIBRARY_ERRORS as error:
        raise translate(error, "bench") from error


def _cases(edge: EdgeRedis) -> Iterator[_Case]:
    client: Any = edge.client
    space = KeySpace(edge.namespace, "raw")
    plain, fields, state = space.key("value"), space.key("node"), edge.synchronizer("scope")
    body = b"x" * 60  # about as long as the encoded value
    edge.cache.put("key", _VALUE)
    edge.health.register(EdgeNode(_NODE, _NODE))
    record = InvocationRecord("function", _NODE, 12.5, success=True)
    client.set(plain, body)
    beat = {"status": "online", "at": "1"}
    yield _Case("cache get", "GET", lambda: edge.cache.get("key"), lambda: client.get(plain))
    yield _Case("cache put", "SET EX", lambda: edge.cache.put("key", _VALUE), lambda: client.set(plain, body, ex=300))
    yield _Case("heartbeat", "HSET", lambda: edge.health.heartbeat(_NODE), lambda: client.hset(fields, mapping=beat))
    yield _Case("check a node", "HGETALL", lambda: edge.health.check_node(_NODE), lambda: client.hgetall(fields))
    yield _Case(
        "record a call",
        "HINCRBY",
        lambda: edge.metrics.record(record),
        lambda: client.hincrby(fields, "calls", 1),
        edge.metrics.flush,
    )
    yield _Case("update a scope", "SET", lambda: state.update_local(_VALUE), lambda: client.set(plain, body))


def _measure(case: _Case, seconds: float) -> Comparison:
    service: list[float] = []
    command: list[float] = []
    _time_turn(case.call_service, case.finish)  # connects, and loads the scripts
    end = time.perf_counter() + seconds
    while not command or time.perf_counter() < end:
        service.append(_time_turn(case.call_service, case.finish))
        command.append(_time_turn(case.call_command))
    return Comparison(case.operation, case.command, median(service), median(command), CALLS * len(command))


def _time_turn(call: Callable[[], object], finish: Callable[[], object] | None = None) -> float:
    """Return the microseconds a call of one turn takes."""
    begun = time.perf_counter()
    for _ in range(CALLS):
        call()
    if finish is not None:
        finish()
    return (time.perf_counter() - begun) * 1e6 / CALLS
