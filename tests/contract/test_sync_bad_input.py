"""Wrong arguments, wrong keys, damaged bytes, a server that is away: the error is clear and nothing is written."""

import dataclasses
import math
from typing import Any

import fakeredis
import pytest
import redis
from conftest import Maker

from edge_redis import (
    CloudWorker,
    ConflictStrategy,
    CorruptDataError,
    EdgeSynchronizer,
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTypeError,
    RedisCloudStore,
    StoreUnavailableError,
    UnsupportedTypeError,
    WrongKeyTypeError,
)
from support.servers import Backend
from support.sync import CLOUD, EDGE, dump, remote

LONG = "x" * 1025
LOOP: dict[str, Any] = {}
LOOP["loop"] = LOOP
GOOD = remote({"a": 1}, 3)

CALLS = [
    ("data: list", lambda s: s.update_local([]), InvalidTypeError),
    ("data: None", lambda s: s.update_local(None), InvalidTypeError),
    ("data: int key", lambda s: s.update_local({1: 1}), InvalidTypeError),
    ("data: bytes key", lambda s: s.update_local({b"a": 1}, is_delta=True), InvalidTypeError),
    ("data: object", lambda s: s.update_local({"a": object()}), UnsupportedTypeError),
    ("data: nested object", lambda s: s.update_local({"a": [{"b": 1j}]}, is_delta=True), UnsupportedTypeError),
    ("data: surrogate", lambda s: s.update_local({"a": "\ud800"}), InvalidArgumentError),
    ("data: surrogate key", lambda s: s.update_local({"\ud800": 1}), InvalidArgumentError),
    ("data: loop", lambda s: s.update_local(LOOP), InvalidArgumentError),
    ("data: too large", lambda s: s.update_local({"a": b"x" * (16 << 20)}), InvalidArgumentError),
    ("is_delta: int", lambda s: s.update_local({}, 1), InvalidTypeError),
    ("is_delta: None", lambda s: s.update_local({}, None), InvalidTypeError),
    ("state: dict", lambda s: s.apply_remote({"version": 1}), InvalidTypeError),
    ("state: None", lambda s: s.apply_remote(None), InvalidTypeError),
    *(
        (
            f"state: {field}={value!r}",
            lambda s, f=field, v=value: s.apply_remote(dataclasses.replace(GOOD, **{f: v})),
            error,
        )
        for field, value, error in [
            ("version", -1, InvalidArgumentError),
            ("version", 2**53, InvalidArgumentError),
            ("version", 1.0, InvalidTypeError),
            ("version", True, InvalidTypeError),
            ("version", math.nan, InvalidTypeError),
            ("data", [], InvalidTypeError),
            ("data", {1: 1}, InvalidTypeError),
            ("origin", None, InvalidTypeError),
            ("origin", "\ud800", InvalidKeyError),
            ("origin", "till\x01life", InvalidKeyError),
            ("updated_at", 1.0, InvalidTypeError),
            ("checksum", None, InvalidTypeError),
        ]
    ),
    *(
        (f"{name}: {value!r}", lambda s, n=name, v=value: getattr(s, n)(v), error)
        for name in ("confirm_sync", "sync_history", "conflicts")
        for value, error in [
            (-1, InvalidArgumentError),
            (1 << 60, InvalidArgumentError),
            (True, InvalidTypeError),
            ("1", InvalidTypeError),
            (None, InvalidTypeError),
            (1.0, InvalidTypeError),
            (math.nan, InvalidTypeError),
            (math.inf, InvalidTypeError),
        ]
    ),
    ("no history", lambda s: s.sync_history(0), InvalidArgumentError),
    ("no conflicts", lambda s: s.conflicts(0), InvalidArgumentError),
]


@pytest.mark.parametrize(("call", "error"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS])
def test_bad_arguments_are_refused(make: Maker, backend: Backend, call: Any, error: Any) -> None:
    sync = make("EdgeSynchronizer", scope="room")
    sync.update_local({"n": 1})
    before = dump(backend)
    with pytest.raises(error):
        call(sync)
    assert dump(backend) == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"conflict_strategy": "first_wins"}, InvalidArgumentError),
        ({"conflict_strategy": None}, InvalidTypeError),
        ({"max_pending": 0}, InvalidArgumentError),
        ({"max_pending": -1}, InvalidArgumentError),
        ({"max_pending": 1_000_001}, InvalidArgumentError),
        ({"max_pending": True}, InvalidTypeError),
        ({"max_pending": 1.5}, InvalidTypeError),
        ({"scope": ""}, InvalidKeyError),
        ({"scope": LONG}, InvalidKeyError),
        ({"scope": "\ud800"}, InvalidKeyError),
        ({"scope": None}, InvalidTypeError),
        ({"namespace": ""}, InvalidKeyError),
        ({"namespace": "a}b"}, InvalidKeyError),
        ({"namespace": b"a"}, InvalidTypeError),
        ({"origin": ""}, InvalidKeyError),
        ({"origin": "x" * 257}, InvalidKeyError),
        ({"origin": "till\x01life"}, InvalidKeyError),
        ({"origin": "\x00"}, InvalidKeyError),
        ({"origin": 7}, InvalidTypeError),
        ({"overflow": "drop"}, InvalidArgumentError),
        ({"overflow": None}, InvalidArgumentError),
        ({"max_history": 0}, InvalidArgumentError),
        ({"max_conflicts": 100_001}, InvalidArgumentError),
    ],
)
def test_constructor_arguments_of_a_synchronizer(arguments: Any, error: Any) -> None:
    with pytest.raises(error):
        EdgeSynchronizer(fakeredis.FakeRedis(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"group": ""}, InvalidKeyError),
        ({"consumer": ""}, InvalidKeyError),
        ({"consumer": 1}, InvalidTypeError),
        ({"namespace": "a{"}, InvalidKeyError),
        ({"batch_size": 0}, InvalidArgumentError),
        ({"batch_size": 1001}, InvalidArgumentError),
        ({"batch_size": True}, InvalidTypeError),
        ({"claim_idle_seconds": 0}, InvalidArgumentError),
        ({"claim_idle_seconds": math.nan}, InvalidArgumentError),
        ({"claim_idle_seconds": math.inf}, InvalidArgumentError),
        ({"max_deliveries": 0}, InvalidArgumentError),
    ],
)
def test_constructor_arguments_of_a_worker(arguments: Any, error: Any) -> None:
    with pytest.raises(error):
        CloudWorker(fakeredis.FakeRedis(), fakeredis.FakeRedis(), **arguments)


def test_a_claim_time_may_be_as_long_as_a_float() -> None:
    client = fakeredis.FakeRedis()
    with CloudWorker(client, client, claim_idle_seconds=1e308) as worker:
        assert worker.run_once() == 0


@pytest.mark.parametrize("cloud", [None, "redis://localhost", object(), fakeredis.FakeAsyncRedis()])
def test_a_cloud_is_a_store_or_a_client(cloud: Any) -> None:
    with pytest.raises(InvalidTypeError):
        CloudWorker(fakeredis.FakeRedis(), cloud)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c: c.get(""), InvalidKeyError),
        (lambda c: c.get(LONG), InvalidKeyError),
        (lambda c: c.get(None), InvalidTypeError),
        (lambda c: c.update("", {}), InvalidKeyError),
        (lambda c: c.update("a", []), InvalidTypeError),
        (lambda c: c.update("a", {"x": object()}), UnsupportedTypeError),
        (lambda c: c.update("a", {}, 1), InvalidTypeError),
        (lambda c: c.changes_since(None), InvalidTypeError),
        (lambda c: c.changes_since("", 0), InvalidArgumentError),
        (lambda c: c.apply("", [], ConflictStrategy.REMOTE_WINS), InvalidKeyError),
    ],
)
def test_bad_arguments_of_the_cloud_are_refused(cloud: Any, backend: Backend, call: Any, error: Any) -> None:
    cloud.update("a", {"n": 1})
    before = dump(backend)
    with pytest.raises(error):
        call(cloud)
    assert dump(backend) == before


@pytest.mark.parametrize(
    ("given", "error"), [(1e308, InvalidTypeError), ({"": GOOD}, InvalidKeyError), ({"a": {"n": 1}}, InvalidTypeError)]
)
def test_bad_given_states_are_refused(make: Maker, given: Any, error: Any) -> None:
    cloud = make("RedisCloudStore")
    with pytest.raises(error):
        cloud.changes_since(given=given)


UPDATE_KEYS = ["doc:room", "pending:room", "work", "scopes", "replica_id"]
APPLY_KEYS = [*UPDATE_KEYS, "history:room", "conflicts:room"]
WRONG = [
    *((f"update, {key}", key, lambda s: s.update_local({"n": 2})) for key in [*UPDATE_KEYS, "server"]),
    *((f"delta, {key}", key, lambda s: s.update_local({"n": 2}, is_delta=True)) for key in UPDATE_KEYS),
    *((f"apply, {key}", key, lambda s: s.apply_remote(remote({"r": 1}, 9))) for key in APPLY_KEYS),
    *(
        (f"confirm, {key}", key, lambda s: s.confirm_sync(1))
        for key in ["doc:room", "pending:room", "work", "history:room"]
    ),
    *((f"summary, {key}", key, lambda s: s.summary()) for key in ["doc:room", "pending:room", "history:room"]),
    ("state", "doc:room", lambda s: s.get_local_state()),
    ("version", "doc:room", lambda s: s.local_version),
    ("pending", "pending:room", lambda s: s.get_pending_changes()),
    ("history", "history:room", lambda s: s.sync_history()),
    ("conflicts", "conflicts:room", lambda s: s.conflicts()),
]


@pytest.mark.parametrize(("key", "call"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_key_of_another_type_stops_it_before_anything_is_written(
    make: Maker, backend: Backend, key: Any, call: Any
) -> None:
    sync = make("EdgeSynchronizer", scope="room")
    sync.update_local({"n": 1})
    with backend.client() as client:
        client.delete(f"{EDGE}:{key}")
        client.rpush(f"{EDGE}:{key}", "planted")
    before = dump(backend)
    with pytest.raises(WrongKeyTypeError):
        call(sync)
    assert dump(backend) == before


@pytest.mark.parametrize("key", ["doc:room", "feed", "feed_number", "replica_id"])
def test_a_key_of_another_type_in_the_cloud(make: Maker, backend: Backend, key: Any) -> None:
    cloud = make("RedisCloudStore")
    cloud.update("room", {"n": 1})
    with backend.client() as client:
        client.delete(f"{CLOUD}:{key}")
        client.rpush(f"{CLOUD}:{key}", "planted")
    before = dump(backend)
    with pytest.raises(WrongKeyTypeError):
        cloud.update("room", {"n": 2})
    assert dump(backend) == before


def test_damaged_bytes_of_a_state(make: Maker, backend: Backend) -> None:
    sync = make("EdgeSynchronizer", scope="room")
    sync.update_local({"n": 1})
    with backend.client() as client:
        client.hset(f"{EDGE}:doc:room", "data", b"\xc1\xff")
    before = dump(backend)
    with pytest.raises(CorruptDataError):
        sync.get_local_state()
    with pytest.raises(CorruptDataError):
        make("EdgeSynchronizer", scope="room").update_local({"m": 1}, is_delta=True)
    assert dump(backend) == before
    # A whole new state needs nothing of the damaged one.
    assert sync.update_local({"n": 2}).version == 2


def test_bytes_that_decode_to_something_else(make: Maker, backend: Backend) -> None:
    sync = make("EdgeSynchronizer", scope="room")
    sync.update_local({"n": 1})
    with backend.client() as client:
        client.hset(f"{EDGE}:doc:room", "data", b"\x01")
    with pytest.raises(CorruptDataError, match="not decode to a dict but to int"):
        sync.get_local_state()


@pytest.mark.parametrize("fields", [{"data": b"\xc1"}, {"clock": b"x"}, {"other": b"1"}])
def test_damaged_entries_of_the_outbox(make: Maker, backend: Backend, fields: Any) -> None:
    sync = make("EdgeSynchronizer", scope="room")
    sync.update_local({"n": 1})
    (entry,) = dump(backend)[f"{EDGE}:pending:room".encode()]
    planted = {**entry[1], **fields} if "other" not in fields else fields
    with backend.client() as client:
        client.xadd(f"{EDGE}:pending:room", planted, id="2-0")
    with pytest.raises(CorruptDataError):
        sync.get_pending_changes()


AWAY = [
    lambda s: s.update_local({"n": 1}),
    lambda s: s.update_local({"n": 1}, is_delta=True),
    lambda s: s.apply_remote(GOOD),
    lambda s: s.get_local_state(),
    lambda s: s.get_pending_changes(),
    lambda s: s.confirm_sync(0),
    lambda s: s.summary(),
    lambda s: s.is_synced,
    lambda s: s.local_version,
    lambda s: s.conflicts(),
]


@pytest.mark.parametrize("call", AWAY)
def test_a_server_that_is_away(call: Any) -> None:
    client = redis.Redis(port=1, retry=None, socket_connect_timeout=1)  # type: ignore[arg-type] # redis-py takes None
    with client, EdgeSynchronizer(client) as sync:
        with pytest.raises(StoreUnavailableError):
            call(sync)
        with pytest.raises(StoreUnavailableError):
            CloudWorker(client, RedisCloudStore(fakeredis.FakeRedis())).run_once()


@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)  # whose failure a test can switch on
def test_an_update_to_a_server_that_is_away_for_a_while(make: Maker, backend: Backend) -> None:
    sync = make("EdgeSynchronizer")
    sync.update_local({"n": 1})
    before = dump(backend)
    backend.fake.connected = False
    with pytest.raises(StoreUnavailableError):
        sync.update_local({"n": 2})
    backend.fake.connected = True
    assert dump(backend) == before
    assert sync.update_local({"n": 2}).version == 2
