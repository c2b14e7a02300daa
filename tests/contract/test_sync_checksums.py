"""A byte that flips in Redis is noticed wherever the state goes on from, and holds up no other scope."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Maker

from edge_redis import ChecksumMismatchError, ConflictStrategy, CorruptDataError
from support.servers import Backend
from support.sync import CLOUD, EDGE, dump, fake, remote

MERGE = ConflictStrategy.MERGE
STRATEGIES = pytest.mark.parametrize("strategy", [ConflictStrategy.REMOTE_WINS, MERGE])


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")


@pytest.fixture
def client(backend: Backend) -> Iterator[Any]:
    with backend.client() as made:
        yield made


def flip(body: Any) -> Any:
    """Return the body with its last bit turned: of a small int another one, so that it still decodes."""
    return body[:-1] + bytes([body[-1] ^ 1])


def damage(client: Any, key: Any) -> None:
    client.hset(key, "data", flip(client.hget(key, "data")))


def replace_entry(client: Any, key: Any, **fields: Any) -> None:
    """Put an entry of a stream back with other fields, where it was or at its end."""
    (entry_id, found), *_ = client.xrange(key)
    client.xdel(key, entry_id)
    if not client.xlen(key):
        client.delete(key)
    client.xadd(key, {**found, **{name.encode(): value for name, value in fields.items()}}, id=entry_id)


def carry(*workers: Any) -> None:
    for worker in workers:
        while worker.run_once():
            pass


@pytest.mark.parametrize("backend", ["fakeredis", "valkey"], indirect=True)
@STRATEGIES
def test_reading_a_damaged_state_and_writing_on_top_of_it(
    make: Maker, backend: Backend, client: Any, strategy: Any
) -> None:
    sync, cloud = make("EdgeSynchronizer", strategy, scope="room"), make("RedisCloudStore")
    sync.update_local({"n": 2})
    carry(make("CloudWorker", make.client()))
    for key in (f"{EDGE}:doc:room", f"{CLOUD}:doc:room"):
        damage(client, key)
    before = dump(backend)
    fresh = make("EdgeSynchronizer", strategy, scope="room")
    for call in (
        sync.get_local_state,
        lambda: cloud.get("room"),
        lambda: fresh.update_local({"m": 1}, is_delta=True),
        lambda: make("RedisCloudStore").update("room", {"m": 1}, is_delta=True),
    ):
        with pytest.raises(ChecksumMismatchError, match="damaged"):
            call()
    after = dump(backend)
    after.pop(f"{EDGE}:scopes".encode()), before.pop(f"{EDGE}:scopes".encode())
    assert after == before


@fake
@pytest.mark.parametrize("clock", ["p01795564064884791", "", "17955640648847910", "9" * 18, "\uff10" * 18])
@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_clock_that_is_none_stops_nobody_else(
    make: Maker, client: Any, cloud: Any, strategy: Any, clock: str
) -> None:
    sync = make("EdgeSynchronizer", strategy, scope="room")
    sync.update_local({"n": 2})
    replace_entry(client, f"{EDGE}:pending:room", clock=clock)
    worker = make("CloudWorker", make.client(), max_deliveries=1)
    carry(worker)
    (letter,) = worker.dead_letters()
    assert letter["error"].startswith("CorruptDataError: a clock does not decode")
    assert cloud.get("room") is None
    assert cloud.update("room", {"m": 1}).version == 1
    carry(worker)
    sync.update_local({"n": 3}, is_delta=True)
    carry(worker)
    assert sync.get_local_state() == cloud.get("room")


@fake
def test_a_damaged_clock_in_a_document_is_passed_when_the_scope_is_written_anew(make: Maker, client: Any) -> None:
    cloud = make("RedisCloudStore")
    cloud.update("room", {"n": 1})
    client.hset(f"{CLOUD}:doc:room", mapping={"clock": "p01795564064884791", "latest_clock": "p01795564064884791"})
    with pytest.raises(CorruptDataError):
        cloud.get("room")
    assert cloud.update("room", {"n": 2}).version == 2
    assert cloud.get("room").data == {"n": 2}


@fake
def test_listing_and_resolving_what_is_damaged(make: Maker, client: Any) -> None:
    sync = make("EdgeSynchronizer", scope="room")
    sync.update_local({"n": 2})
    sync.apply_remote(remote({"n": 3}, 5, origin="z"))
    pending, conflicts = f"{EDGE}:pending:room", f"{EDGE}:conflicts:room"
    (conflict,) = sync.conflicts()
    for key, call in (
        (pending, sync.get_pending_changes),
        (conflicts, sync.conflicts),
        (conflicts, lambda: sync.resolve(conflict["id"])),
    ):
        good = client.xrange(key)[0][1][b"data"]
        replace_entry(client, key, data=flip(good))
        with pytest.raises(ChecksumMismatchError):
            call()
        replace_entry(client, key, data=good)
    assert sync.resolve(conflict["id"]).data == {"n": 2}


@fake
@STRATEGIES
def test_a_damaged_entry_is_a_dead_letter_until_it_is_whole_again(
    make: Maker, client: Any, cloud: Any, strategy: Any
) -> None:
    sync = make("EdgeSynchronizer", strategy, scope="room")
    sync.update_local({"n": 2})
    good = client.xrange(f"{EDGE}:pending:room")[0][1][b"data"]
    replace_entry(client, f"{EDGE}:pending:room", data=flip(good))
    worker = make("CloudWorker", make.client(), max_deliveries=1)
    carry(worker)
    (letter,) = worker.dead_letters()
    assert "ChecksumMismatchError" in letter["error"]
    assert worker.replay_dead_letters() == 0
    assert cloud.get("room") is None
    replace_entry(client, f"{EDGE}:dead", data=good)
    assert worker.replay_dead_letters() == 1
    assert cloud.get("room") == sync.get_local_state()


@fake
def test_a_damaged_document_is_not_offered_to_a_cloud_that_lost_its_data(make: Maker, client: Any, cloud: Any) -> None:
    worker = make("CloudWorker", make.client())
    for scope in ("room", "other"):
        make("EdgeSynchronizer", scope=scope).update_local({"n": 2})
    carry(worker)
    damage(client, f"{EDGE}:doc:room")
    client.delete(*client.keys(f"{CLOUD}:*"))
    carry(worker)
    assert cloud.get("room") is None
    assert cloud.get("other").data == {"n": 2}


HARM: dict[str, Callable[[Any, str], object]] = {
    "a flipped byte": damage,
    "no data": lambda client, key: client.hdel(key, "data"),
    "no checksum": lambda client, key: client.hdel(key, "checksum"),
    "no version": lambda client, key: client.hdel(key, "version"),
    "another version": lambda client, key: client.hset(key, "version", "1x"),
    "no UTF-8": lambda client, key: client.hset(key, "origin", b"\xff"),
    "another type": lambda client, key: (client.delete(key), client.rpush(key, "planted")),
}


@pytest.mark.parametrize("backend", ["fakeredis", "valkey"], indirect=True)
@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_a_damaged_document_of_the_cloud_is_passed_over_and_the_others_go_on(
    make: Maker, client: Any, cloud: Any, worker: Any, harm: Any
) -> None:
    syncs = [make("EdgeSynchronizer", scope=scope) for scope in ("before", "room", "after")]
    for scope in ("before", "room", "after"):
        cloud.update(scope, {"n": 2})
    harm(client, f"{CLOUD}:doc:room")
    carry(worker)
    states = [sync.get_local_state() for sync in syncs]
    assert [state and state.data for state in states] == [{"n": 2}, None, {"n": 2}]
    (event,) = syncs[1].sync_history()
    assert (event.direction, event.success) == ("pull", False)
    assert event.error.startswith("left out: ")
    cloud.update("after", {"n": 4})
    carry(worker)
    assert syncs[2].get_local_state().data == {"n": 4}
    assert len(syncs[1].sync_history()) == 1  # recorded once
    client.delete(f"{CLOUD}:doc:room")
    cloud.update("room", {"n": 6})  # written anew: it comes by itself
    carry(worker)
    assert syncs[1].get_local_state().data == {"n": 6}


CUT = {
    "to nothing": {"data": b""},
    "to no fields": {"data": b"\x92\xc1", "merged": "1"},
    "to no checksum": {"data": b"", "checksum": b"\xff"},
}


@fake
@pytest.mark.parametrize("harm", [*CUT, "another type"])
def test_what_is_damaged_is_no_delete_and_holds_up_no_collecting(client: Any, cloud: Any, harm: Any) -> None:
    for scope in ("before", "room", "after"):
        cloud.update(scope, {"n": 2})
        if scope != "room":
            cloud.delete(scope)
    key = f"{CLOUD}:doc:room"
    if harm in CUT:
        client.hset(key, mapping=CUT[harm])
    else:
        HARM[harm](client, key)
    assert cloud.purge_tombstones(0) == 2
    assert client.exists(key)


@fake
def test_a_damaged_document_of_the_cloud_is_mended_by_the_next_change_of_an_edge(
    make: Maker, client: Any, cloud: Any, worker: Any
) -> None:
    sync = make("EdgeSynchronizer", scope="room")
    sync.update_local({"n": 2})
    carry(worker)
    damage(client, f"{CLOUD}:doc:room")
    state = sync.update_local({"n": 4})
    carry(worker)
    assert cloud.get("room") == state


@fake
def test_damaged_fields_are_never_joined_with_whole_ones(make: Maker, client: Any, cloud: Any, worker: Any) -> None:
    sync, other = make("EdgeSynchronizer", MERGE, scope="room"), make("EdgeSynchronizer", MERGE, scope="other")
    sync.update_local({"n": 2})
    carry(worker)
    whole = client.hget(f"{EDGE}:doc:room", "data")
    damage(client, f"{EDGE}:doc:room")
    cloud.update("room", {"m": 1}, is_delta=True)
    cloud.update("other", {"m": 1})
    carry(worker)
    with pytest.raises(ChecksumMismatchError):
        sync.get_local_state()
    assert "left out" in sync.sync_history()[-1].error
    assert other.get_local_state().data == {"m": 1}
    client.hset(f"{EDGE}:doc:room", "data", whole)
    cloud.update("room", {"k": 1}, is_delta=True)
    carry(worker)
    assert sync.get_local_state().data == {"n": 2, "m": 1, "k": 1}


@fake
def test_what_does_not_even_decode_is_said_to_be_so(make: Maker, client: Any) -> None:
    sync = make("EdgeSynchronizer", scope="room")
    sync.update_local({"n": 2})
    client.hset(f"{EDGE}:doc:room", "data", b"\xc1")
    with pytest.raises(CorruptDataError):
        sync.get_local_state()
