"""How large a scope may be written: more is refused before anything is written, and what comes from afar is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fakeredis
import pytest
from conftest import Maker

from edge_redis import (
    ConflictStrategy,
    EdgeSynchronizer,
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTypeError,
    RedisCloudStore,
    TooManyFieldsError,
    ValueTooLargeError,
)
from edge_redis._core import codec
from edge_redis._sync import fields as field_maps
from edge_redis._sync.change import from_state
from edge_redis.cloudstores import merge_states
from support.servers import Backend
from support.sync import dump, remote

pytestmark = [pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)]  # nothing of it is the server's doing

MERGE = ConflictStrategy.MERGE


@pytest.fixture(params=[ConflictStrategy.REMOTE_WINS, MERGE])
def strategy(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def small(make: Maker, strategy: Any) -> Any:
    return make("EdgeSynchronizer", strategy, scope="room", max_bytes=200, max_fields=3)


def fields(count: Any) -> Any:
    return {f"f{number}": 0 for number in range(count)}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.update_local(fields(4)), TooManyFieldsError, "has 4 fields; the limit is 3"),
        (lambda s: s.update_local({"b": 1, "c": 1, "d": 1}, is_delta=True), TooManyFieldsError, "has 4 fields"),
        (lambda s: s.update_local({"a": b"x" * 200}), ValueTooLargeError, r"has 20\d bytes; the limit is 200"),
        (lambda s: s.update_local({"b": b"x" * 170}, is_delta=True), ValueTooLargeError, r"bytes; the limit is 200"),
        (lambda s: s.apply_remote(remote(fields(4), 9)), TooManyFieldsError, "has 4 fields"),
        (lambda s: s.apply_remote(remote({"a": b"x" * 200}, 9)), ValueTooLargeError, "the limit is 200"),
    ],
    ids=["fields", "fields of a delta", "bytes", "bytes of a delta", "remote fields", "remote bytes"],
)
def test_what_is_over_a_limit_is_refused_before_anything_is_written(
    make: Maker, small: Any, backend: Backend, call: Any, error: Any, message: Any
) -> None:
    small.update_local({"a": b"y" * 30})
    before = dump(backend)
    with pytest.raises(error, match=message) as raised:
        call(small)
    assert isinstance(raised.value, InvalidArgumentError)
    assert dump(backend) == before


def test_what_is_at_a_limit_is_written(make: Maker, strategy: Any) -> None:
    data = fields(3)
    size = len(codec.canonical(data))
    sync = make("EdgeSynchronizer", scope="plain", max_bytes=size, max_fields=3)
    assert sync.update_local(data).data == data
    other = make("EdgeSynchronizer", strategy, scope="other", max_fields=3)
    other.update_local(fields(2))
    assert other.update_local({"f1": 1, "f2": 1}, is_delta=True).data == {"f0": 0, "f1": 1, "f2": 1}


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def on_a_stack_of(depth: int, call: Callable[[], Any]) -> Any:
    return on_a_stack_of(depth - 1, call) if depth else call()


def test_how_deeply_a_state_nests_does_not_depend_on_the_stack(make: Maker, strategy: Any) -> None:
    sync, cloud, worker = make("EdgeSynchronizer", strategy), make("RedisCloudStore"), make("CloudWorker", make.cloud())
    deepest = {"v": nested(127)}
    sync.update_local(deepest)

    def carry() -> None:
        while worker.run_once():
            pass
        cloud.update("default", {"w": 1}, True)  # noqa: FBT003 -- the documented signature
        while worker.run_once():
            pass

    on_a_stack_of(500, carry)
    assert worker.dead_letters() == []
    assert sync.get_local_state().data == cloud.get("default").data == {**deepest, "w": 1}


@pytest.mark.parametrize("levels", [128, 129, 5000])
def test_a_state_that_nests_more_deeply_is_refused(make: Maker, strategy: Any, levels: int) -> None:
    sync, cloud = make("EdgeSynchronizer", strategy), make("RedisCloudStore")
    for write in (sync.update_local, lambda data: cloud.update("default", data)):
        with pytest.raises(InvalidArgumentError, match="too deeply"):
            write({"v": nested(levels)})
    assert sync.get_local_state() is None


def test_the_clouds_own_limits(make: Maker, backend: Backend) -> None:
    cloud = make("RedisCloudStore", max_bytes=40, max_fields=2)
    cloud.update("room", {"a": 1})
    before = dump(backend)
    with pytest.raises(TooManyFieldsError, match="has 3 fields; the limit is 2"):
        cloud.update("room", {"b": 1, "c": 1}, is_delta=True)
    with pytest.raises(ValueTooLargeError, match="the limit is 40"):
        cloud.update("room", {"b": "x" * 40}, is_delta=True)
    assert dump(backend) == before


def test_limits_bind_who_writes_and_not_a_replica(make: Maker, strategy: Any, worker: Any) -> None:
    """A state over one end's limits is taken there, holds up no other, and can be brought back within them."""
    small = make("EdgeSynchronizer", strategy, scope="room", max_fields=3)
    large, other = make("RedisCloudStore"), make("EdgeSynchronizer", scope="other")
    large.update("room", fields(9))
    large.update("other", {"n": 1})
    while worker.run_once():
        pass
    assert small.get_local_state().data == fields(9)
    assert other.get_local_state().data == {"n": 1}
    with pytest.raises(TooManyFieldsError, match="has 9 fields"):
        small.update_local({"f1": 1}, is_delta=True)
    assert len(small.delete_fields("f0", "f1", "f2", "f3", "f4").data) == 4
    assert len(small.delete_fields("f5", "f6").data) == 2
    small.update_local({"f1": 1}, is_delta=True)
    while worker.run_once():
        pass
    assert large.get("room").data == {"f7": 0, "f8": 0, "f1": 1}


def test_the_cloud_takes_from_an_edge_what_it_would_not_write_itself(make: Maker) -> None:
    narrow = make("RedisCloudStore", max_fields=1)
    narrow.apply("room", [from_state(remote(fields(5), 1, origin="till"))], ConflictStrategy.REMOTE_WINS)
    assert narrow.get("room").data == fields(5)


def test_what_merging_makes_has_no_limit_but_the_servers(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two states within the limit, joined, may be over it: refused, they would stay apart for ever."""
    one, other = (from_state(remote({name: b"x" * 100}, 1)) for name in ("edge", "cloud"))
    assert field_maps.MAX_MERGED_BYTES > 2 * codec.MAX_VALUE_BYTES
    monkeypatch.setattr(field_maps, "MAX_MERGED_BYTES", 299)
    assert merge_states(one, other).state.data == {"edge": b"x" * 100, "cloud": b"x" * 100}
    monkeypatch.setattr(field_maps, "MAX_MERGED_BYTES", 199)
    with pytest.raises(ValueTooLargeError, match="the limit is 199"):  # so it is that limit and no other
        merge_states(one, other)


@pytest.mark.parametrize(
    ("name", "is_good"), [("", True), ("x" * 1024, True), ("é" * 512, True), ("x" * 1025, False), ("é" * 513, False)]
)
def test_a_fields_name_has_at_most_a_keys_bytes(make: Maker, name: Any, is_good: Any) -> None:
    sync = make("EdgeSynchronizer", scope="room")
    if is_good:
        assert sync.update_local({name: 1}).data == {name: 1}
    else:
        with pytest.raises(InvalidKeyError, match="at most 1024 bytes"):
            sync.update_local({name: 1}, is_delta=True)


@pytest.mark.parametrize("name", ["max_bytes", "max_fields"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(0, InvalidArgumentError), (1 << 30, InvalidArgumentError), (True, InvalidTypeError), ("1", InvalidTypeError)],
)
def test_bad_limits(backend: Backend, name: Any, value: Any, error: Any) -> None:
    for service in (EdgeSynchronizer, RedisCloudStore):
        with pytest.raises(error, match=name):
            service(fakeredis.FakeRedis(), **{name: value})


def test_a_deleted_field_counts_by_its_name_alone(make: Maker, backend: Backend) -> None:
    sync = make("EdgeSynchronizer", MERGE, scope="room", max_fields=1)
    for number in range(5):
        sync.update_local({f"f{number}": 1})
    assert sync.get_local_state().data == {"f4": 1}
    with backend.client() as client:
        assert len(field_maps.unpack(client.hget("er:{default:sync0}:doc:room", "data")).fields) == 5
