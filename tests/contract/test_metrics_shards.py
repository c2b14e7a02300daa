"""EdgeMetrics over several shards: what it answers, and how processes agree on their number."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest
from conftest import Maker

from edge_redis import EdgeMetrics, EdgeRedis, InvalidArgumentError, LayoutVersionError
from edge_redis._core.shards import name_shards
from edge_redis._core.slots import SLOTS, hash_slot
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._metrics.api import Metrics
from edge_redis._metrics.config import MetricsConfig
from support.metrics import answers, buffer_of, made, some, use_separate_buffer
from support.servers import Backend

HOME = "er:{default:metrics0}"


class TestAnswers:
    def test_are_those_of_one_shard(self, make: Maker) -> None:
        one = make("EdgeMetrics", namespace="one", slow_ms=20.0, flush_interval=3600)
        three = make("EdgeMetrics", namespace="three", slow_ms=20.0, flush_interval=3600, shards=3)
        records = some(400)
        for metrics in (one, three):
            metrics.record_many(records[:300])
            metrics.flush()
            metrics.record_many(records[300:])
        assert answers(three) == answers(one)
        forgotten = [(each.forget("f0"), each.forget(node_id="n1"), each.forget("f4", "n2")) for each in (one, three)]
        assert forgotten[0] == forgotten[1]
        assert answers(three) == answers(one)
        three.reset()
        one.reset()
        assert answers(three) == answers(one)

    def test_records_are_the_latest_of_all_shards(self, make: Maker) -> None:
        metrics = make("EdgeMetrics", shards=3, max_recent=50, flush_interval=3600)
        batches = [some(30) for _ in range(3)]
        for batch in batches:
            metrics.record_many(batch)
            metrics.flush()
        assert sorted(record.duration_ms for record in metrics.recent(60)) == sorted(
            record.duration_ms for batch in batches[1:] for record in batch
        )
        failed = [record for batch in batches for record in batch if not record.success]
        assert sorted(map(str, metrics.errors(1000))) == sorted(map(str, failed))

    def test_the_bound_of_series_holds_for_all_shards_together(self, make: Maker) -> None:
        metrics = make("EdgeMetrics", shards=3, max_series=10)
        metrics.record_many(made(f"f{at}", "n", 1.0) for at in range(100))
        stats, series = metrics.stats(), metrics.series()
        named = [pair for pair in series if pair != ("_other", "_other")]
        assert len(named) == 10
        assert stats == {"series": 11, "max_series": 10, "overflow": 90}
        assert len(series) == 11
        assert metrics.total_invocations("_other", "_other") == metrics.total_invocations("_other") == 90
        assert metrics.total_invocations() == 100

    def test_a_query_asks_all_shards_at_once(self, make: Maker) -> None:
        metrics = make("EdgeMetrics", shards=5)
        metrics.record_many(some(50))
        metrics.flush()
        runner, sent = getattr(metrics, "_target", metrics)._runner, []

        class Counting:
            def __init__(self, sender: Any) -> None:
                self._sender = sender

            def send(self, args: Any) -> Any:
                sent.append(1)
                return self._sender.send(args)

            def send_many(self, commands: Any) -> Any:
                sent.append(len(commands))
                return self._sender.send_many(commands)

        def ask() -> None:
            metrics.percentile(95, "f1")
            metrics.timeline("f1")
            metrics.total_invocations("f1", "n1")

        ask()  # which sends the scripts' sources
        runner.replace_sender(Counting)
        ask()
        assert sent == [5, 5, 1]

    def test_a_batch_that_reached_some_shards_counts_once(self) -> None:
        with fakeredis.FakeRedis(server=fakeredis.FakeServer()) as client:
            runner, metrics = BlockingRunner(client), Metrics(MetricsConfig(shards=3))
            records = some(200)
            metrics.append_many(records)
            shards = runner.run(metrics.shards.settle())
            metrics.writer.aggregate()
            buffer = metrics.writer.buffer
            calls = buffer.next_calls(3)
            assert {call.shard for call in calls} == {0, 1, 2}
            for call in calls:
                runner.run(shards[call.shard].flush(call, buffer.writer_id))
            buffer.acknowledge(calls[1], "0")
            assert [call.shard for call in buffer.next_calls(3)] == [0, 2]
            assert buffer.pending == 200
            assert runner.run(metrics.total_invocations()) == 200
            assert (buffer.pending, buffer.next_calls(3)) == (0, [])
            assert len(runner.run(metrics.recent(1000))) == 200


class TestTheNumberOfShards:
    def test_is_stored_with_the_first_write_and_taken_by_all_others(self, make: Maker, backend: Backend) -> None:
        first = make("EdgeMetrics", shards=3)
        later = use_separate_buffer(make("EdgeMetrics"))
        assert later.total_invocations() == 0
        first.record_many(some(30))
        first.flush()
        later.record_many(some(40))
        later.flush()
        assert first.total_invocations() == later.total_invocations() == 70
        with backend.client() as client:
            assert client.get(f"{HOME}:layout") == b"1/3"
            tags = {key.split(b"}")[0].decode() + "}" for key in client.scan_iter()}
        assert tags == {HOME} | {f"er:{{default:metrics{name}}}" for name in name_shards("default", "metrics", 3)}

    @pytest.mark.parametrize(("stored", "given"), [(3, 2), (3, 1), (1, 3)])
    def test_another_one_is_refused_before_anything_is_read_or_written(
        self, make: Maker, backend: Backend, stored: int, given: int
    ) -> None:
        first = make("EdgeMetrics", shards=stored)
        first.record(made())
        first.flush()
        with backend.client() as client:
            before = sorted(client.scan_iter())
            other = use_separate_buffer(make("EdgeMetrics", shards=given, flush_interval=3600))
            with pytest.raises(InvalidArgumentError, match=f"metrics.*shards={stored}, not {given}"):
                other.total_invocations()
            other.record(made())
            with pytest.raises(InvalidArgumentError, match=f"shards={stored}"):
                other.flush()
            assert sorted(client.scan_iter()) == before
            buffer_of(other).reset()

    def test_is_at_most_max_series(self, make: Maker) -> None:
        for options in ({"shards": 0}, {"shards": 1025}, {"shards": 11, "max_series": 10}):
            with pytest.raises(InvalidArgumentError, match="shards"):
                make("EdgeMetrics", **options)

    def test_is_stored_again_where_a_server_began_without_data(self, make: Maker, backend: Backend) -> None:
        metrics = make("EdgeMetrics", shards=3, flush_interval=3600)
        metrics.record(made())
        metrics.flush()
        with backend.client() as client:
            client.flushall()
            client.script_flush()
            metrics.record_many(some(30))
            metrics.flush()
            assert client.get(f"{HOME}:layout") == b"1/3"
            client.script_flush()
            client.set(f"{HOME}:layout", b"1")  # by a process that came between
            metrics.record(made())
            with pytest.raises(InvalidArgumentError, match="3"):
                metrics.flush()
            client.set(f"{HOME}:layout", b"2/3")
            with pytest.raises(LayoutVersionError):
                metrics.flush()
            client.set(f"{HOME}:layout", b"1/3")
            metrics.flush()
        assert metrics.total_invocations() == 31


def test_shards_lie_in_equal_parts_of_the_slots() -> None:
    for shards in (2, 3, 16, 100):
        names = name_shards("a:b", "metrics", shards)
        parts = [hash_slot(f"a:b:metrics{name}") * shards // SLOTS for name in names]
        assert parts == list(range(shards))
    assert name_shards("a:b", "metrics", 1) == ("0",)


def test_a_namespace_with_shards_is_dropped_whole() -> None:
    with fakeredis.FakeRedis(server=fakeredis.FakeServer()) as client, EdgeMetrics(client, shards=3) as metrics:
        metrics.record_many(some(30))
        metrics.flush()
        with EdgeRedis(client) as bundle:
            bundle.drop_namespace()
        assert client.keys() == []
