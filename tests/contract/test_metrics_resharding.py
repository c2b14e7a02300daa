"""The number of shards of the metrics is changed while they are written and read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Maker

from edge_redis._core.shard_record import ShardRecord
from edge_redis._core.shards import name_shards
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._metrics.api import Metrics
from edge_redis._metrics.config import MetricsConfig
from edge_redis._metrics.resharding import MetricsResharding
from edge_redis.errors import StoreError
from support import simulation
from support.metrics import answers, made, some, use_separate_buffer
from support.servers import Backend
from support.simulation import Actor, Scenario

HOME = "er:{default:metrics0}"


def change(client: Any, shards: int, namespace: str = "default") -> ShardRecord:
    resharding, runner = MetricsResharding(namespace), BlockingRunner(client)
    record = runner.run(resharding.change(shards, lambda _: None))
    assert runner.run(resharding.is_complete(record))
    return record


class TestAnswers:
    def test_stay_those_of_one_shard(self, make: Maker, backend: Backend) -> None:
        options = {"slow_ms": 20.0, "flush_interval": 3600}
        one, stale = make("EdgeMetrics", namespace="one", **options), make("EdgeMetrics", shards=3, **options)
        other = use_separate_buffer(make("EdgeMetrics", **options))
        records = some(150)
        one.record_many(records)
        stale.record_many(records[:50])
        stale.flush()
        other.record_many(records[50:75])
        assert other.total_invocations() == 75
        stale.record_many(records[75:100])
        with backend.client() as client:
            assert str(change(client, 5)) == "1/5+3"
            other.record_many(records[100:])
            other.flush()
            expected = answers(one)
            assert answers(stale) == expected
            assert sorted(map(str, other.recent(1000))) == sorted(map(str, one.recent(1000)))
            late = make("EdgeMetrics", shards=3, **options)
            assert late.forget("f0") == one.forget("f0")
            assert late.summary() == one.summary()
            assert late.series() == one.series()
            for each in (one, late):
                each.reset()
                each.record_many(records)
            late.flush()
            assert str(change(client, 1)) == "1/1+5"
            assert answers(other) == expected


def test_a_number_that_comes_back_is_written_to_again(servers: Any) -> None:
    client = servers.backend("fakeredis").client()
    runner, metrics, other = BlockingRunner(client), new_metrics(shards=2), new_metrics()
    for at, (shards, stored) in enumerate([(3, "1/3+2"), (2, "1/2+3"), (1, "1/1+2+3"), (2, "1/2+1+3")]):
        metrics.append_many(made(f"f{number}") for number in range(10))
        runner.run(metrics.flush())
        other.append(made())
        assert str(change(client, shards)) == stored
        assert runner.run(metrics.total_invocations()) == 10 * at + 10 + at
        assert runner.run(other.total_invocations()) == runner.run(metrics.total_invocations()) == 11 * at + 11
    runner.run(metrics.reset())
    other.append(made())
    assert runner.run(other.total_invocations()) == runner.run(metrics.total_invocations()) == 1
    assert client.get(f"{HOME}:layout") == b"1/2"


def test_the_bound_of_series_holds_for_all_numbers_together(servers: Any) -> None:
    client = servers.backend("fakeredis").client()
    runner, metrics = BlockingRunner(client), new_metrics(shards=3, max_series=60)
    metrics.append_many(made(f"f{at}") for at in range(40))
    runner.run(metrics.flush())
    change(client, 2)
    metrics.append_many(made(f"f{at}") for at in range(100))
    series = runner.run(metrics.series())
    assert {f"f{at}" for at in range(40)} < {function for function, _ in series}
    assert [runner.run(metrics.total_invocations(f"f{at}", "n")) for at in range(40)] == [2] * 40
    overflow = 40 + 60 - len(series) + 1
    assert runner.run(metrics.stats()) == {"series": len(series), "max_series": 60, "overflow": overflow}
    assert 58 <= len(series) <= 61  # with "_other"
    change(client, 3)
    metrics.append_many(made(f"g{at}") for at in range(100))
    assert len(runner.run(metrics.series())) == runner.run(metrics.stats())["series"] == 61


def test_an_unwritten_namespace_takes_the_number(servers: Any) -> None:
    client = servers.backend("fakeredis").client()
    assert str(change(client, 4)) == "1/4"
    metrics = new_metrics()
    metrics.append(made())
    BlockingRunner(client).run(metrics.flush())
    tags = {key.split(b"}")[0].decode() + "}" for key in client.scan_iter()}
    assert HOME in tags
    assert tags - {HOME} <= {f"er:{{default:metrics{name}}}" for name in name_shards("default", "metrics", 4)}


def new_metrics(**options: Any) -> Metrics:
    return Metrics(MetricsConfig(flush_interval=3600.0, **options))


def write(metrics: Metrics, acknowledged: list[int]) -> Callable[[], Any]:
    async def flow() -> None:
        for number in range(2):
            metrics.append(made(f"f{number}"))
            try:
                await metrics.flush()
            except StoreError:
                """It is kept for the next."""
            else:
                acknowledged[0] += metrics.writer.buffer.state.aggregated
                acknowledged[0] -= acknowledged[1]
                acknowledged[1] = metrics.writer.buffer.state.aggregated

    return flow


@pytest.mark.parametrize("count", [8, pytest.param(400, marks=pytest.mark.exploration)])
@pytest.mark.parametrize("resets", [False, True], ids=["", "with a reset"])
def test_no_schedule_loses_or_repeats_a_record(count: int, *, resets: bool, servers: Any) -> None:
    """A change that may end anywhere, a writer and a reader of the old number, and a reset of another process."""

    def scenario() -> Scenario:
        client = servers.backend("fakeredis").client()
        runner = BlockingRunner(client)
        writer, reader, resharding = new_metrics(), new_metrics(), MetricsResharding("default")
        for each in (writer, reader):
            each.append(made("old"))
            runner.run(each.flush())
        known, seen = [2, 1], [0, 0]

        async def read() -> int:
            seen[0] = known[0]
            return await reader.total_invocations()

        actors = [
            Actor(
                "mover",
                client,
                lambda: resharding.change(2, lambda _: None),
                (*simulation.CRASHES, simulation.Fault.REPEATED),
            ),
            Actor("writer", client, write(writer, known), simulation.LOSSES),
            Actor("reset", client, new_metrics().reset) if resets else Actor("reader", client, read),
        ]

        def check(_: Any) -> None:
            if not resets:
                assert seen[0] <= actors[2].result <= 4
            runner.run(writer.flush())
            total = runner.run(reader.total_invocations())
            assert total == stored(client)
            assert resets or total == 4
            record = change(client, 2)
            assert record.shards == 2
            writer.append(made())
            assert runner.run(writer.total_invocations()) == runner.run(reader.total_invocations()) == total + 1

        return Scenario(actors, check)

    simulation.seeds(scenario, count=count)


def stored(client: Any) -> int:
    """Return how many records the present epochs of all shards of any number have, listed in the record or not."""
    total = 0
    for key in client.scan_iter("er:*:s:all"):
        tag, _, rest = key.decode().partition(":e:")
        if (client.get(f"{tag}:epoch") or b"0").decode() == rest.partition(":")[0]:
            total += int(client.hget(key, "n"))
    return total


def test_a_query_of_an_old_record_has_what_is_in_new_shards_before_the_old_ones_are_closed(servers: Any) -> None:
    client = servers.backend("fakeredis").client()
    runner, stale, writer = BlockingRunner(client), new_metrics(), new_metrics()
    stale.append(made())
    assert runner.run(stale.total_invocations()) == 1
    flow = MetricsResharding("default").change(2, lambda _: None)
    step = flow.send(None)
    while client.get(f"{HOME}:layout") != b"1/2+1":
        step = flow.send(runner.perform(step))
    flow.close()
    writer.append(made("g"))
    runner.run(writer.flush())
    assert runner.run(stale.total_invocations()) == 2
    assert [pair[0] for pair in runner.run(stale.series())] == ["f", "g"]


def test_a_batch_for_closed_shards_goes_to_the_present_ones_once(servers: Any) -> None:
    client = servers.backend("fakeredis").client()
    runner, metrics = BlockingRunner(client), new_metrics()
    metrics.append(made())
    runner.run(metrics.flush())
    metrics.append_many(some(200))
    metrics.writer.aggregate()
    (call,) = metrics.writer.buffer.next_calls(1)
    change(client, 3)
    change(client, 2)
    assert runner.run(metrics.total_invocations()) == 201
    assert metrics.writer.buffer.pending == 0
    assert call.place not in {each.place for each in metrics.writer.buffer.next_calls(2)}
