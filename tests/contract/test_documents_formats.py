"""A program in another language reads what this package writes, by the page "Keys and values" alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import edge_redis
from support.node import node_program
from support.servers import Backend

PROGRAM = Path(__file__).parents[2] / "docs" / "examples" / "read_from_node.mjs"

MOMENT = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)
VALUE: dict[str, Any] = {
    "int": -5,
    "large": 2**40,
    "huge": -(2**70),
    "float": 12.5,
    "text": "Grüße" * 20,
    "none": None,
    "flags": [True, False],
    "tuple": (1, 2),
    "set": {3, 4},
    "moment": MOMENT,
    "day": date(2026, 11, 28),
    "span": timedelta(days=1, seconds=2, microseconds=3000),
    "price": Decimal("12.50"),
    "id": UUID(int=255),
}
AS_JSON = {
    **VALUE,
    "huge": str(-(2**70)),
    "tuple": [1, 2],
    "set": [3, 4],
    "moment": "2026-11-28T12:30:00.000Z",
    "day": "2026-11-28",
    "span": 86_402_003,
    "price": "12.50",
    "id": "0" * 30 + "ff",
    "large": str(2**40),
}


@pytest.fixture
def edge(valkey: Backend) -> Iterator[edge_redis.EdgeRedis]:
    with valkey.client() as client, edge_redis.EdgeRedis(client, namespace="other") as made:
        yield made


def _read(url: str, key: str) -> dict[str, Any]:
    port = url.rsplit(":", 1)[1].split("/", maxsplit=1)[0]
    words = [node_program(), str(PROGRAM), port, "other", key, "till-1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_node_program_reads_a_cached_value_and_the_record_of_a_node(
    edge: edge_redis.EdgeRedis, valkey: Backend
) -> None:
    node = edge_redis.EdgeNode("till-1", "Till 1", "front", capabilities=["scan"], metadata={"floor": 2})
    node.resources = edge_redis.ResourceUsage(cpu_percent=12.5)
    edge.health.register(node)
    edge.health.heartbeat("till-1", edge_redis.EdgeNodeStatus.DEGRADED)
    edge.cache.put("everything", VALUE)
    found = _read(str(valkey.url), "everything")
    assert found["entry"]["value"] == AS_JSON
    assert found["node"].pop("heartbeat") > MOMENT.timestamp() * 1000 - 10 * 365 * 86_400_000
    assert found["node"] == {
        "name": "Till 1",
        "status": "degraded",
        "location": "front",
        "capabilities": ["scan"],
        "metadata": {"floor": 2},
        "cpu": 12.5,
    }


def test_a_node_program_reads_a_value_that_was_computed(edge: edge_redis.EdgeRedis, valkey: Backend) -> None:
    edge.health.register(edge_redis.EdgeNode("till-1", "Till 1"))
    edge.cache.get_or_compute("computed", lambda: {"a": 1}, early=1.0)
    assert _read(str(valkey.url), "computed")["entry"]["value"] == {"a": 1}
