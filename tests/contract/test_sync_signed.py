"""Signed changes, end to end: what its origin signed arrives, and nothing that somebody else wrote in its name."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import fakeredis
import pytest
from conftest import Maker

from edge_redis import (
    CloudWorker,
    ConflictStrategy,
    EdgeSynchronizer,
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTypeError,
    RedisCloudStore,
    StoreUnavailableError,
)
from edge_redis._sync import scripts
from support.checked import present
from support.servers import Backend
from support.sync import CLOUD, EDGE, FailingStore, fake

TILL, OTHER, OWN = b"till-1's own key", b"till-2's own key", b"the cloud's own k"
KEYS = {"till-1": TILL, "till-2": OTHER, "cloud": OWN}
two = pytest.mark.parametrize("backend", ["fakeredis", "valkey"], indirect=True)
strategies = pytest.mark.parametrize("strategy", ConflictStrategy)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")


@pytest.fixture
def client(backend: Backend) -> Iterator[Any]:
    with backend.client() as made:
        yield made


@pytest.fixture
def worker(make: Maker) -> Any:
    return make("CloudWorker", make.client(), keys=KEYS)


@pytest.fixture
def till(make: Maker) -> Any:
    return make("EdgeSynchronizer", scope="room", origin="till-1", signing_key=TILL)


def carry(*workers: Any) -> None:
    for worker in [*workers, *workers]:  # what LOCAL_WINS says again while it pulls goes up in the next round
        while worker.run_once():
            pass


def errors(worker: Any) -> Any:
    return [letter["error"].partition(":")[0] for letter in worker.dead_letters()]


def wipe(client: Any) -> None:
    client.delete(*client.keys(f"{CLOUD}:*"))


@two
@strategies
def test_what_is_signed_goes_up_and_comes_down(
    make: Maker, client: Any, cloud: Any, worker: Any, strategy: Any
) -> None:
    till = make("EdgeSynchronizer", strategy, scope="room", origin="till-1", signing_key=TILL)
    states = [till.update_local({"a": 1}), till.update_local({"b": 2}, is_delta=True), till.delete_fields("a")]
    assert [state.version for state in states] == [1, 2, 3]
    assert states[0].updated_at < states[1].updated_at < states[2].updated_at
    carry(worker)
    assert cloud.get("room") == till.get_local_state() == states[2]
    assert till.is_synced
    cloud.update("room", {"c": 3}, is_delta=True)
    carry(worker)  # and what LOCAL_WINS says again goes up under its first signature
    expected = {"b": 2} if strategy is ConflictStrategy.LOCAL_WINS else {"b": 2, "c": 3}
    assert cloud.get("room").data == till.get_local_state().data == expected
    assert till.update_local({"d": 4}, is_delta=True).data == {**expected, "d": 4}
    carry(worker)
    assert cloud.get("room") == till.get_local_state()
    assert till.delete() is True
    carry(worker)
    assert cloud.get("room") is None
    assert worker.dead_letters() == []
    assert client.hget(f"{EDGE}:doc:room", "signature") == client.hget(f"{CLOUD}:doc:room", "signature") is not None


@two
def test_one_edge_writing_as_another_is_refused_and_the_others_go_on(
    make: Maker, cloud: Any, worker: Any, till: Any
) -> None:
    till.update_local({"n": 1})
    carry(worker)
    thief = make("EdgeSynchronizer", scope="room", origin="till-1", signing_key=OTHER)
    thief.update_local({"n": "forged"})
    make("EdgeSynchronizer", scope="other", origin="till-2", signing_key=OTHER).update_local({"n": 2})
    till.update_local({"n": 3})
    carry(worker)
    assert cloud.get("room").data == {"n": 3}
    assert cloud.get("other").data == {"n": 2}
    assert errors(worker) == ["SignatureError"]
    (letter,) = worker.dead_letters()
    assert (letter["version"], letter["deliveries"]) == (2, 1)
    assert worker.replay_dead_letters() == 0
    assert [event.version for event in cloud.sync_history("room")] == [1, 3]
    assert cloud.conflicts("room") == []


@fake
@strategies
@pytest.mark.parametrize("origin", ["till-1", "till-2", "stranger", "cloud", None])
def test_an_unsigned_change_is_refused_where_keys_are_given(
    make: Maker, cloud: Any, worker: Any, strategy: Any, origin: Any
) -> None:
    make("EdgeSynchronizer", strategy, scope="room", origin=origin).update_local({"n": 1})
    carry(worker)
    assert cloud.get("room") is None
    assert errors(worker) == ["SignatureError"]


@fake
def test_without_keys_signatures_are_carried_and_not_read(make: Maker, client: Any, cloud: Any) -> None:
    make("EdgeSynchronizer", scope="room", origin="till-1", signing_key=b"a key that nobody knows").update_local({})
    carry(make("CloudWorker", make.client()))
    assert cloud.get("room").data == {}
    assert client.hget(f"{CLOUD}:doc:room", "signature")


def forge(client: Any, change: Any, key: Any = f"{EDGE}:pending:room", to: Any = None) -> None:
    """Put the oldest entry back, changed: fields and id."""
    (entry_id, fields), *_ = client.xrange(key)
    client.xdel(key, entry_id)
    new = {**{name.decode(): value for name, value in fields.items()}, **change}
    identity = new.pop("id", entry_id)
    client.delete(to or key)
    client.xadd(to or key, new, id=identity)


@fake
@pytest.mark.parametrize("strategy", [ConflictStrategy.LATEST_WINS, ConflictStrategy.LOCAL_WINS])
@pytest.mark.parametrize(
    "change",
    [
        {"id": "9-0"},
        {"clock": b"009999999999000000"},
        {"clock": b"000000000000000001"},
        {"id": "9-0", "clock": b"009999999999000000", "data": b"\x80"},
        {"origin": b"till-2"},
        {"data": b"\x80", "checksum": b"76be8b528d0075f7aae98d6fa57a6d3c83ae480a8469e668d7b0af968995ac71"},
        {"data": b"\x80"},
        {"signature": b""},
        {"signature": b"none"},
    ],
    ids=["version", "later", "earlier", "said again", "origin", "checksum and data", "data", "unsigned", "none"],
)
def test_whatever_is_changed_of_a_signed_change_it_is_refused(
    make: Maker, client: Any, cloud: Any, strategy: Any, change: Any
) -> None:
    till = make("EdgeSynchronizer", strategy, scope="room", origin="till-1", signing_key=TILL)
    till.update_local({"n": 1})
    client.hset(f"{EDGE}:doc:room", "version", 9)
    forge(client, change)
    worker = make("CloudWorker", make.client(), keys=KEYS, max_deliveries=1)
    carry(worker)
    assert cloud.get("room") is None
    (error,) = errors(worker)
    assert error == ("ChecksumMismatchError" if "data" in change and "checksum" not in change else "SignatureError")


@fake
def test_a_signed_change_is_none_of_another_scope_or_namespace(
    make: Maker, client: Any, cloud: Any, worker: Any, till: Any
) -> None:
    make("EdgeSynchronizer", scope="hall", origin="till-1", signing_key=TILL).update_local({"n": 2})
    till.update_local({"n": 1})
    forge(client, {}, to=f"{EDGE}:pending:hall")
    far = make("EdgeSynchronizer", scope="room", namespace="far", origin="till-1", signing_key=TILL)
    far.update_local({"n": 3})
    forge(client, {}, key="er:{far:sync0}:pending:room", to=f"{EDGE}:pending:room")
    carry(worker)
    assert cloud.get("room") is None
    assert cloud.get("hall") is None
    assert errors(worker) == ["SignatureError"] * 2


@fake
def test_a_key_is_replaced_without_a_gap(make: Maker, cloud: Any, till: Any) -> None:
    new = b"the next key of till-1"
    till.update_local({"n": 1})
    successor = make("EdgeSynchronizer", scope="room", origin="till-1", signing_key=new)
    successor.update_local({"n": 2})
    till.update_local({"m": 3}, is_delta=True)
    both, only = ({"till-1": keys}.get for keys in ((new, TILL), new))
    carry(make("CloudWorker", make.client(), keys=both))
    assert [event.version for event in cloud.sync_history("room")] == [1, 2, 3]
    till.update_local({"n": 4})
    successor.update_local({"n": 5})
    worker = make("CloudWorker", make.client(), keys=only)
    carry(worker)
    assert errors(worker) == ["SignatureError"]
    assert cloud.get("room").data == {"n": 5}


@fake
def test_a_function_that_gives_the_keys_is_asked_by_one_thread_alone(make: Maker) -> None:
    threads = set()

    def keys(origin: Any) -> Any:
        threads.add(threading.get_ident())
        return KEYS.get(origin)

    for number in range(8):
        make("EdgeSynchronizer", scope=f"s{number}", origin="till-1", signing_key=TILL).update_local({"n": 1})
    assert make("CloudWorker", make.client(), keys=keys).run_once() == 8
    assert len(threads) == 1


@two
@pytest.mark.parametrize(
    "found", ["text", b"short", [b"short"], {}, ValueError("no vault"), InvalidKeyError("no vault")], ids=repr
)
def test_changes_wait_where_the_function_of_keys_fails_or_gives_no_keys(
    make: Maker, cloud: Any, till: Any, found: Any
) -> None:
    def keys(origin: Any) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    till.update_local({"n": 1})
    worker = make("CloudWorker", make.cloud(), keys=keys, max_deliveries=1)
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="the function of keys failed"):
            worker.run_once()
    assert (worker.status()["changes_waiting"], worker.dead_letters()) == (1, [])
    carry(make("CloudWorker", make.cloud(), keys=KEYS))
    assert cloud.get("room").data == {"n": 1}


@fake
def test_dead_letters_are_verified_when_they_are_replayed(
    make: Maker, client: Any, cloud: Any, worker: Any, till: Any
) -> None:
    till.update_local({"n": 1})
    carry(make("CloudWorker", FailingStore(), max_deliveries=1))
    dead = f"{EDGE}:dead"
    (_, whole), *_ = client.xrange(dead)
    forge(client, {"signature": whole[b"signature"][:-1] + b"g"}, key=dead)
    assert worker.replay_dead_letters() == 0
    assert cloud.get("room") is None
    forge(client, {"signature": whole[b"signature"]}, key=dead)
    assert worker.replay_dead_letters() == 1
    assert cloud.get("room") == till.get_local_state()


@two
@strategies
def test_a_cloud_that_lost_its_data_gets_back_what_is_countersigned(
    make: Maker, client: Any, cloud: Any, worker: Any, strategy: Any
) -> None:
    till = make("EdgeSynchronizer", strategy, scope="room", origin="till-1", signing_key=TILL)
    till.update_local({"n": 1})
    cloud.update("clouds", {"n": 2})
    carry(worker)
    cloud.update("room", {"n": 3})  # which till-1 takes, or writes over
    make("EdgeSynchronizer", scope="forged", origin="till-1").apply_remote(cloud.get("clouds"))
    carry(worker)
    kept = till.get_local_state()
    wipe(client)
    carry(worker)
    assert (cloud.get("room").data, cloud.get("room").origin) == (kept.data, kept.origin)
    assert cloud.get("clouds").data == {"n": 2}
    assert cloud.get("forged") is None
    assert worker.dead_letters() == []


@fake
def test_a_document_whose_version_rose_is_offered_at_the_one_that_was_signed(
    make: Maker, client: Any, cloud: Any, worker: Any
) -> None:
    till = make("EdgeSynchronizer", ConflictStrategy.LATEST_WINS, scope="room", origin="till-1", signing_key=TILL)
    till.update_local({"n": 1})
    carry(worker)
    client.hset(f"{EDGE}:doc:room", "version", 7)
    wipe(client)
    carry(worker)
    assert (cloud.get("room").version, cloud.get("room").data) == (1, {"n": 1})


@fake
@pytest.mark.parametrize("strategy", [ConflictStrategy.LOCAL_WINS, ConflictStrategy.MERGE])
def test_a_forged_document_is_not_offered(make: Maker, client: Any, cloud: Any, worker: Any, strategy: Any) -> None:
    till = make("EdgeSynchronizer", strategy, scope="room", origin="till-1", signing_key=TILL)
    till.update_local({"n": 1})
    carry(worker)
    make("EdgeSynchronizer", strategy, scope="room", origin="till-1").update_local({"n": "forged"})
    client.delete(f"{EDGE}:pending:room")
    assert client.hget(f"{EDGE}:doc:room", "signature") is None  # the former one is gone with what it signed
    cloud.update("room", {"m": 1}, is_delta=True)
    carry(worker)  # which joins it, for MERGE, and does not vouch for it
    client.delete(f"{EDGE}:pending:room")
    wipe(client)
    carry(worker)
    assert cloud.get("room") is None


@fake
def test_what_local_wins_says_again_is_what_it_signed_itself(make: Maker, client: Any, cloud: Any, worker: Any) -> None:
    def edge() -> Any:
        made = make("EdgeSynchronizer", ConflictStrategy.LOCAL_WINS, scope="room", origin="till-1", signing_key=TILL)
        made.change_strategy(ConflictStrategy.LOCAL_WINS)
        return made

    till = edge()
    cloud.update("room", {"n": 1})
    carry(worker)
    cloud.update("room", {"n": 2})
    carry(worker)
    assert till.get_local_state().data == {"n": 1}  # taken from the cloud, and nothing that till-1 ever signed
    assert errors(worker) == ["SignatureError"]
    till.update_local({"n": 3})
    carry(worker)
    client.delete(*client.keys(f"{EDGE}:*"))
    till, again = edge(), make("CloudWorker", make.client(), keys=KEYS)
    carry(again)
    assert till.get_local_state().data == {"n": 3}  # its own, come back
    cloud.update("room", {"n": 4})
    carry(again)
    assert cloud.get("room") == till.get_local_state()
    assert cloud.get("room").data == {"n": 3}
    assert again.dead_letters() == []


@two
@strategies
def test_signed_writers_at_once_lose_no_delta_and_leave_no_gap(backend: Backend, strategy: Any) -> None:
    def write(number: Any) -> Any:
        with backend.client() as own:
            sync = EdgeSynchronizer(own, strategy, scope="room", origin="till-1", signing_key=TILL)
            return [sync.update_local({f"{number}.{each}": 1}, is_delta=True).version for each in range(5)]

    with ThreadPoolExecutor(4) as pool:
        versions = [version for found in pool.map(write, range(4)) for version in found]
    assert sorted(versions) == list(range(1, 21))
    with backend.client() as edge:
        worker = CloudWorker(edge, edge, keys=KEYS)
        carry(worker)
        assert worker.dead_letters() == []
        assert len(present(RedisCloudStore(edge).get("room")).data) == 20


@fake
def test_a_signed_write_is_later_than_all_the_scope_has_seen(client: Any, till: Any) -> None:
    """Also where its server's clock is behind, and where the newest clock seen is of a state that lost."""
    till.update_local({"n": 1})
    client.hset(f"{EDGE}:doc:room", "latest_clock", "009999999999000000")
    state = till.update_local({"n": 2})
    assert state.updated_at.year == 2286
    assert till.delete() is True
    assert client.hget(f"{EDGE}:doc:room", "clock") == b"009999999999000002"


@fake
@pytest.mark.parametrize("strategy", [ConflictStrategy.REMOTE_WINS, ConflictStrategy.MERGE])
def test_a_scope_whose_delete_was_forgotten_is_signed_above_it(
    make: Maker, cloud: Any, worker: Any, monkeypatch: pytest.MonkeyPatch, strategy: Any
) -> None:
    till = make("EdgeSynchronizer", strategy, scope="room", origin="till-1", signing_key=TILL)
    till.update_local({"a": 1})
    till.delete()
    carry(worker)
    assert worker.purge_tombstones(0) == 1
    tries, update = count(1), scripts.update

    def bounded(*args: Any, **kwargs: Any) -> Any:
        assert next(tries) <= 3, "it is tried again and again"
        return update(*args, **kwargs)

    monkeypatch.setattr(scripts, "update", bounded)
    assert till.update_local({"b": 1}).version == 3
    carry(worker)
    assert cloud.get("room").data == {"b": 1}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"signing_key": TILL}, InvalidArgumentError),
        ({"signing_key": b"short", "origin": "a"}, InvalidArgumentError),
        ({"signing_key": "a text of many words", "origin": "a"}, InvalidTypeError),
    ],
)
def test_bad_keys_of_a_synchronizer(arguments: Any, error: Any) -> None:
    with pytest.raises(error):
        EdgeSynchronizer(fakeredis.FakeRedis(), **arguments)


@pytest.mark.parametrize("keys", [{"a": b"short"}, {"a": 1}, [TILL], "till-1"])
def test_bad_keys_of_a_worker(keys: Any) -> None:
    with pytest.raises((InvalidArgumentError, InvalidTypeError)):
        CloudWorker(fakeredis.FakeRedis(), fakeredis.FakeRedis(), keys=keys)
