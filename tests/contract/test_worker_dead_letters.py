"""Changes that were given up: listed with their error, tried once more when the cause is gone."""

import logging
from typing import Any

import pytest
from conftest import Maker

from edge_redis import InvalidArgumentError, InvalidTypeError, StoreUnavailableError
from support.servers import Backend
from support.sync import EDGE, FailingStore


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")


@pytest.fixture
def sync(make: Maker) -> Any:
    return make("EdgeSynchronizer", scope="room")


def give_up(make: Maker, *versions: Any) -> None:
    worker = make("CloudWorker", FailingStore(*versions), max_deliveries=1)
    while worker.run_once():
        pass


def test_none(make: Maker) -> None:
    worker = make("CloudWorker", make.cloud())
    assert worker.dead_letters() == []
    assert worker.replay_dead_letters() == 0


def test_what_a_letter_tells(make: Maker, sync: Any) -> None:
    state = sync.update_local({"n": 1})
    give_up(make)
    (letter,) = make("CloudWorker", make.cloud()).dead_letters()
    assert abs((letter.pop("timestamp") - state.updated_at).total_seconds()) < 10
    assert letter.pop("id").endswith("-0")
    assert letter == {
        "scope": "room",
        "version": 1,
        "data": {"n": 1},
        "error": "RuntimeError: no room",
        "deliveries": 1,
    }


def test_replayed_when_the_cause_is_gone(make: Maker, sync: Any, cloud: Any, worker: Any) -> None:
    state = sync.update_local({"n": 1})
    give_up(make)
    assert (sync.pending_count, sync.is_synced) == (0, False)
    assert worker.replay_dead_letters() == 1
    assert cloud.get("room") == state
    assert sync.is_synced
    assert worker.dead_letters() == []
    assert worker.replay_dead_letters() == 0
    assert [event.version for event in cloud.sync_history("room")] == [1]


def test_one_that_comes_late_loses_to_what_was_written_since(make: Maker, sync: Any, cloud: Any, worker: Any) -> None:
    sync.update_local({"n": 1})
    give_up(make)
    state = sync.update_local({"n": 2})
    assert worker.run_once() == 1
    assert worker.replay_dead_letters() == 1
    assert cloud.get("room") == state
    assert cloud.conflicts("room") == []
    assert sync.is_synced


def test_those_that_fail_again_stay(make: Maker, sync: Any) -> None:
    for number in range(3):
        sync.update_local({"n": number})
    give_up(make)
    worker = make("CloudWorker", FailingStore(2))
    assert worker.replay_dead_letters(limit=2) == 1
    assert [letter["version"] for letter in worker.dead_letters()] == [2, 3]
    assert [letter["version"] for letter in worker.dead_letters(1)] == [2]
    assert worker.replay_dead_letters() == 1
    assert [letter["version"] for letter in worker.dead_letters()] == [2]


def test_an_outage_leaves_them(make: Maker, sync: Any) -> None:
    sync.update_local({"n": 1})
    give_up(make)
    worker = make("CloudWorker", FailingStore(error=OSError("cut")))
    with pytest.raises(StoreUnavailableError, match="cut"):
        worker.replay_dead_letters()
    assert len(worker.dead_letters()) == 1


def test_one_whose_data_are_damaged(make: Maker, sync: Any, backend: Backend) -> None:
    sync.update_local({"n": 1})
    with backend.client() as client:
        (entry,) = client.xrange(f"{EDGE}:pending:room")
        client.delete(f"{EDGE}:pending:room")
        client.xadd(f"{EDGE}:pending:room", {**entry[1], b"data": b"\xc1"}, id="1-0")
    worker = make("CloudWorker", make.cloud(), max_deliveries=1)
    worker.run_once()
    (letter,) = worker.dead_letters()
    assert letter["data"] is None
    assert "ChecksumMismatchError" in letter["error"]
    assert worker.replay_dead_letters() == 0


@pytest.mark.parametrize(
    ("limit", "error"), [(0, InvalidArgumentError), (10_001, InvalidArgumentError), (True, InvalidTypeError)]
)
def test_bad_limits(make: Maker, limit: Any, error: Any) -> None:
    worker = make("CloudWorker", make.cloud())
    with pytest.raises(error):
        worker.dead_letters(limit)
    with pytest.raises(error):
        worker.replay_dead_letters(limit)
