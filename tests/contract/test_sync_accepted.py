"""The cloud's stream of accepted changes: what comes into it, once, and how groups of consumers read it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from edge_redis import (
    ConflictStrategy,
    InvalidArgumentError,
    InvalidTypeError,
    RedisCloudStore,
    StoreRefusedError,
    WrongKeyTypeError,
)
from edge_redis._sync.change import Change, encode_data
from edge_redis.cli.main import main
from support.servers import Backend

TAG = "er:{default:cloud0}"


@pytest.fixture
def cloud(make: Any) -> Any:
    return make("RedisCloudStore")


@pytest.fixture
def client(backend: Backend) -> Iterator[Any]:
    with backend.client() as made:
        yield made


def drain(worker: Any) -> None:
    while worker.run_once():
        pass


def make_change(version: int, data: dict[str, Any], clock: int = 0) -> Change:
    body = encode_data(data)
    moment = f"{1_700_000_000_000_000 + (clock or version):018d}"
    return Change(version, moment, "till\1a1b2", hashlib.sha256(body).hexdigest(), "", body)


def read(cloud: Any, group: str = "g", consumer: str = "one", limit: int = 100) -> list[tuple[str, int, Any]]:
    """Return scope, version and data of the next changes, which are then acknowledged."""
    changes = cloud.read_accepted(group, consumer, limit)
    assert cloud.ack_accepted(group, [each.id for each in changes]) == len(changes)
    return [(each.scope, each.version, each.data) for each in changes]


@pytest.mark.parametrize("strategy", ConflictStrategy, ids=lambda each: each.value)
def test_what_a_worker_pushes_and_the_cloud_writes_is_kept_in_order(
    make: Any, cloud: Any, strategy: ConflictStrategy
) -> None:
    cloud.update("before", {"n": 0})
    cloud.keep_accepted()
    edge = make("EdgeSynchronizer", strategy, scope="till/1")
    for number in range(3):
        edge.update_local({"n": number})
    drain(make("CloudWorker", make.client(**make.backend.as_user("cloud-worker"))))
    cloud.update("price", {"tea": 3})
    cloud.delete("price")
    found = read(cloud)
    if strategy is ConflictStrategy.MERGE:  # the changes of one call are one merge
        assert found[:-2] == [("till/1", 3, {"n": 2})]
    else:
        assert found[:-2] == [("till/1", number + 1, {"n": number}) for number in range(3)]
    assert found[-2:] == [("price", 1, {"tea": 3}), ("price", 2, None)]
    assert read(cloud) == []


def test_an_accepted_change_is_kept_once_however_often_it_comes(cloud: Any) -> None:
    cloud.keep_accepted()
    first, second, third = (make_change(number, {"n": number}) for number in (1, 2, 3))
    lower = make_change(1, {"n": "lower"}, clock=9)
    for changes in ([first], [first, second], [first, second], [second, third], [lower], [third]):
        cloud.apply("s", changes, ConflictStrategy.REMOTE_WINS)
    for change in (first, second, second, first):
        cloud.apply("merged", [change], ConflictStrategy.MERGE)
    assert read(cloud) == [
        *(("s", number, {"n": number}) for number in (1, 2, 3)),
        *(("merged", number, {"n": number}) for number in (1, 2)),
    ]


def test_a_change_has_what_describes_it(cloud: Any) -> None:
    cloud.keep_accepted(max_body_bytes=20)
    change = make_change(1, {"n": 1})
    cloud.apply("s", [change], ConflictStrategy.REMOTE_WINS)
    cloud.update("large", {"text": "x" * 30})
    state = cloud.update("s", {"n": 2})
    cloud.delete("s")
    pushed, large, written, deleted = cloud.read_accepted("g", "one")
    assert (pushed.number, pushed.origin, pushed.checksum) == (1, "till", change.checksum)
    assert pushed.updated_at == change.state.updated_at
    assert (large.data, large.is_complete, large.is_deleted) == (None, False, False)
    assert large.checksum == cloud.get("large").checksum
    assert (written.number, written.version, written.origin) == (3, 2, "cloud")
    assert written.updated_at == state.updated_at
    assert abs((written.accepted_at - state.updated_at).total_seconds()) < 5
    assert (deleted.data, deleted.is_complete, deleted.is_deleted) == (None, True, True)


def test_nothing_is_kept_until_it_is_switched_on_and_after_it_is_dropped(cloud: Any, make: Any, client: Any) -> None:
    cloud.update("s", {"n": 1})
    assert cloud.accepted_status() is None
    with pytest.raises(StoreRefusedError, match="keep-changes"):
        cloud.read_accepted("g", "one")
    cloud.keep_accepted()
    make("RedisCloudStore").update("s", {"n": 2})  # every writer obeys
    assert read(cloud) == [("s", 2, {"n": 2})]
    assert cloud.drop_accepted()
    assert not cloud.drop_accepted()
    cloud.update("s", {"n": 3})
    left = client.keys(f"{TAG}:accepted*")
    assert all(key.startswith(f"{TAG}:accepted_repeats:".encode()) and client.ttl(key) > 0 for key in left)


def test_each_group_gets_every_change_and_its_consumers_share_them(cloud: Any) -> None:
    cloud.keep_accepted()
    for number in range(1, 7):
        cloud.update("s", {"n": number})
    late = cloud.read_accepted("late", "one", from_oldest=False)
    shared = [cloud.read_accepted("g", name, 2) for name in ("one", "two", "one")]
    assert [[each.version for each in some] for some in shared] == [[1, 2], [3, 4], [5, 6]]
    assert late == []
    cloud.update("s", {"n": 7})
    assert [each.version for each in cloud.read_accepted("late", "one")] == [7]
    groups = {each["group"]: each for each in cloud.accepted_status()["groups"]}
    assert groups["g"] == {"group": "g", "consumers": 2, "pending": 6, "lag": 1, "lost": 0}
    assert groups["late"] == {"group": "late", "consumers": 1, "pending": 1, "lag": 0, "lost": 0}


def test_changes_of_a_dead_consumer_go_to_another_one(cloud: Any) -> None:
    cloud.keep_accepted()
    for number in range(1, 5):
        cloud.update("s", {"n": number})
    taken = cloud.read_accepted("g", "dead", 3)
    assert [each.version for each in cloud.read_accepted("g", "live", claim_idle_seconds=60)] == [4]
    again = cloud.read_accepted("g", "live", claim_idle_seconds=0.001)
    assert again[:3] == taken
    cloud.ack_accepted("g", [each.id for each in cloud.read_accepted("g", "live", claim_idle_seconds=0.001)])
    cloud.ack_accepted("g", [each.id for each in again])
    (group,) = cloud.accepted_status()["groups"]
    assert (group["consumers"], group["pending"]) == (1, 0)


def test_changes_that_were_removed_unread_are_counted_and_logged(
    cloud: Any, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.keep_accepted()
    cloud.update("s", {"n": 1})
    assert read(cloud) == [("s", 1, {"n": 1})]
    for number in range(2, 7):
        cloud.update("s", {"n": number})
    client.xtrim(f"{TAG}:accepted", maxlen=2, approximate=False)  # as the bounds do, but for whole nodes of the stream
    assert cloud.accepted_status()["groups"][0]["lost"] == 3
    with caplog.at_level(logging.WARNING, "edge_redis"):
        assert [version for _, version, _ in read(cloud)] == [5, 6]
    assert "group g has lost 3 accepted changes" in caplog.text
    assert cloud.accepted_status()["groups"][0]["lost"] == 3


@pytest.mark.parametrize("bounds", [{"max_length": 100}, {"max_age_seconds": 3600}], ids=["count", "age"])
def test_retention_removes_the_oldest(cloud: Any, client: Any, bounds: dict[str, Any]) -> None:
    with client.pipeline() as pipeline:
        for number in range(1, 301):  # long ago
            pipeline.xadd(f"{TAG}:accepted", {"number": number}, id=f"{number}-0")
        pipeline.execute()
    cloud.keep_accepted(**bounds)
    cloud.update("s", {"n": 0})
    status = cloud.accepted_status()
    assert 1 <= status["length"] <= 200  # whole nodes of the stream, of a hundred entries
    expected = {"max_length": 100_000, "max_age_seconds": None, "max_body_bytes": 65_536} | bounds
    assert {name: status[name] for name in expected} == expected


def test_following_acknowledges_what_was_processed(cloud: Any) -> None:
    cloud.keep_accepted()
    for number in range(5):
        cloud.update("s", {"n": number})
    found = [each.data["n"] for each in cloud.follow_accepted("g", limit=2, timeout=0.02, poll_seconds=0.01)]
    assert found == [*range(5)]
    assert cloud.accepted_status()["groups"][0]["pending"] == 0


def test_damaged_entries_and_settings_stop_no_writer_and_no_reader(
    cloud: Any, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.keep_accepted()
    client.xadd(f"{TAG}:accepted", {"number": 1, "scope": "s"})
    client.set(f"{TAG}:accepted_number", "x")
    cloud.update("s", {"n": 1})
    assert read(cloud) == [("s", 1, {"n": 1})]
    assert "it is damaged" in caplog.text
    client.set(f"{TAG}:accepted_keep", "much")
    cloud.update("s", {"n": 2})
    assert read(cloud) == []
    cloud.keep_accepted()
    client.set(f"{TAG}:accepted", "of another type")
    with pytest.raises(WrongKeyTypeError):
        cloud.update("s", {"n": 3})
    assert cloud.get("s").data == {"n": 2}


def test_unusable_arguments_are_refused(cloud: Any) -> None:
    for options in ({"max_length": 0}, {"max_age_seconds": 0}, {"max_body_bytes": -1}):
        with pytest.raises(InvalidArgumentError):
            cloud.keep_accepted(**options)
    cloud.keep_accepted()
    for arguments in (("", "one"), ("g", ""), ("g", "one", 0), ("g", "one", 1001)):
        with pytest.raises(InvalidArgumentError):
            cloud.read_accepted(*arguments)
    with pytest.raises(InvalidTypeError):
        cloud.ack_accepted("g", "1-0")
    with pytest.raises(InvalidArgumentError):
        cloud.ack_accepted("g", ["1"])


def test_the_commands_switch_on_show_and_drop(valkey: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--url", str(valkey.url)]
    assert main(["cloud", "changes", *words]) == 0
    assert main(["cloud", "keep-changes", "500", "--max-age-days", "7", *words]) == 0
    with valkey.client() as client, RedisCloudStore(client) as cloud:
        cloud.update("s", {"n": 1})
        cloud.read_accepted("analytics", "one")
    capsys.readouterr()
    assert main(["cloud", "changes", "--json", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["max_length"], found["max_age_seconds"], found["length"]) == (500, 7 * 86_400, 1)
    assert main(["cloud", "changes", *words]) == 0
    assert "analytics  1          0    1        0" in capsys.readouterr().out
    assert main(["cloud", "drop-changes", *words]) == 0
    assert main(["cloud", "drop-changes", *words]) == 1
    assert main(["cloud", "changes", "--cloud-url", "sqlite://", *words]) == 2
