"""What holds up one scope, or the cloud, costs no other scope anything: no delivery, no place, no change."""

from __future__ import annotations

from datetime import UTC, datetime

import fakeredis
import pytest

from edge_redis import (
    CloudWorker,
    CorruptDataError,
    EdgeSynchronizer,
    InvalidArgumentError,
    RedisCloudStore,
    StoreUnavailableError,
)
from edge_redis.models import SyncState
from support.checked import present

TAG = "er:{default:sync0}:"
SCOPES = ["s0", "s1", "s2", "s3"]


@pytest.fixture
def edge() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


def write(edge: fakeredis.FakeRedis, *scopes: str) -> None:
    for scope in scopes:
        with EdgeSynchronizer(edge, scope=scope) as synchronizer:
            synchronizer.update_local({"scope": scope})


def test_an_outage_of_the_cloud_sends_nothing_to_the_dead_letters(edge: fakeredis.FakeRedis) -> None:
    write(edge, *SCOPES)
    server = fakeredis.FakeServer()
    cloud = RedisCloudStore(fakeredis.FakeRedis(server=server))
    worker = CloudWorker(edge, cloud, claim_idle_seconds=0.001)
    server.connected = False
    for _ in range(12):
        with pytest.raises(StoreUnavailableError):
            worker.run_once()
    server.connected = True
    assert worker.run_once() == 4
    assert worker.dead_letters() == []
    assert [present(cloud.get(scope)).data for scope in SCOPES] == [{"scope": scope} for scope in SCOPES]


def test_a_scope_whose_document_is_gone_does_not_hold_up_the_others(edge: fakeredis.FakeRedis) -> None:
    write(edge, "bad")
    edge.delete(f"{TAG}doc:bad")
    write(edge, "good")
    cloud = RedisCloudStore(fakeredis.FakeRedis())
    worker = CloudWorker(edge, cloud)
    for _ in range(3):
        worker.run_once()
    assert present(cloud.get("good")).data == {"scope": "good"}
    assert "good" not in {letter["scope"] for letter in worker.dead_letters()}


def test_a_scope_with_a_key_of_another_type_does_not_hold_up_the_others(edge: fakeredis.FakeRedis) -> None:
    write(edge, "bad", "good")
    edge.delete(f"{TAG}history:bad")
    edge.lpush(f"{TAG}history:bad", "x")
    cloud = RedisCloudStore(fakeredis.FakeRedis())
    worker = CloudWorker(edge, cloud)
    for _ in range(3):
        worker.run_once()
    assert present(cloud.get("good")).data == {"scope": "good"}
    cloud.update("good", {"from": "above"})
    worker.run_once()
    with EdgeSynchronizer(edge, scope="good") as synchronizer:
        assert present(synchronizer.get_local_state()).data == {"from": "above"}


def test_a_name_that_does_not_decode_does_not_end_the_work(edge: fakeredis.FakeRedis) -> None:
    edge.zadd(f"{TAG}work", {b"\xff": 1})
    write(edge, "good")
    cloud = RedisCloudStore(fakeredis.FakeRedis())
    CloudWorker(edge, cloud).run_once()
    assert present(cloud.get("good")).data == {"scope": "good"}


def test_a_clock_at_the_end_of_time_is_refused_before_anything_is_written(edge: fakeredis.FakeRedis) -> None:
    state = SyncState.from_data({"a": 1}, 1)
    state.updated_at = datetime.max.replace(tzinfo=UTC)
    with EdgeSynchronizer(edge) as synchronizer:
        with pytest.raises(InvalidArgumentError, match="before the year 9000"):
            synchronizer.apply_remote(state)
        assert edge.dbsize() == 0
        assert synchronizer.update_local({"b": 1}).version == 1


@pytest.mark.parametrize(
    ("field", "value"), [("version", b"abc"), ("peer_version", b"\xff"), ("clock", b"zz"), ("clock", b"9" * 30)]
)
def test_what_somebody_else_wrote_into_a_document_is_corrupt_data(
    edge: fakeredis.FakeRedis, field: str, value: bytes
) -> None:
    with EdgeSynchronizer(edge) as synchronizer:
        synchronizer.update_local({"a": 1})
        edge.hset(f"{TAG}doc:default", field, value)
        read = {
            "version": lambda: synchronizer.local_version,
            "peer_version": lambda: synchronizer.remote_version,
            "clock": synchronizer.get_local_state,
        }
        with pytest.raises(CorruptDataError):
            read[field]()


def test_a_dead_letter_of_somebody_else_is_left_out_and_holds_up_none(edge: fakeredis.FakeRedis) -> None:
    edge.xadd(f"{TAG}dead", {"x": "y"})
    edge.xadd(f"{TAG}dead", {"scope": b"\xff", "version": "1", "deliveries": "1", "error": "", "data": b""})
    worker = CloudWorker(edge, fakeredis.FakeRedis())
    assert worker.dead_letters() == []
    assert worker.replay_dead_letters() == 0
