"""The page "Metric names" has every metric that is exported, with its type and labels, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_redis import EdgeNode, EdgeRedis, TransitionRelay
from edge_redis.exporters.prometheus import EdgeCollector
from support.servers import Backend

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metric-names.md"

_ROW = re.compile(r"^\| (`edge_[^|]*) \| (counter|gauge|histogram) \|([^|]*)\|", re.MULTILINE)
_ALWAYS = {"edge_redis_up", "edge_source_failed"}
_ON_FAILURE = {"edge_source_failed"}


def _documented() -> dict[str, tuple[str, set[str]]]:
    found = {}
    for names, kind, labels in _ROW.findall(PAGE.read_text()):
        for name in re.findall(r"`(edge_\w+)`", names):
            found[name] = (kind, set(re.findall(r"\w+", labels)) | (set() if name in _ALWAYS else {"namespace"}))
    return found


@pytest.fixture
def collector(valkey: Backend) -> Iterator[EdgeCollector]:
    with valkey.client() as client, EdgeRedis(client, namespace="names") as edge:
        edge.health.register(EdgeNode("till-1", "Till 1"))
        with edge.metrics.track("function", "till-1"):
            edge.cache.put("key", 1)
        edge.synchronizer("scope").update_local({"a": 1})
        with TransitionRelay(client, print, namespace="names") as relay, edge.worker(client) as worker:
            watch = edge.watch()
            watch.run_once()
            yield EdgeCollector(
                metrics=edge.metrics,
                cache=edge.cache,
                health=edge.health,
                edge=edge,
                synchronizers={"scope": edge.synchronizer("scope")},
                worker=worker,
                watch=watch,
                relays={"default": relay},
            )


def test_the_page_has_the_metrics_that_are_exported(collector: EdgeCollector) -> None:
    exported = {
        family.name: (family.type, {label for sample in family.samples for label in sample.labels} - {"le"})
        for family in collector.collect()
        if family.samples
    }
    documented = _documented()
    assert exported.keys() - documented.keys() == set()
    assert documented.keys() - exported.keys() <= _ON_FAILURE
    assert {name: documented[name] for name in exported} == exported
