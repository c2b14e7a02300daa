"""A person settles a conflict: the choice is the next version, at both ends."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from conftest import Maker

import edge_redis.aio
from edge_redis import EdgeSynchronizer, InvalidArgumentError, InvalidKeyError, InvalidTypeError
from support.servers import Backend
from support.sync import dump, remote


@pytest.fixture
def sync(make: Maker) -> Any:
    sync = make("EdgeSynchronizer", scope="room")
    sync.update_local({"mine": 1})
    sync.apply_remote(remote({"theirs": 1}, 4, origin="cloud"))
    return sync


def test_what_lost_is_taken_back(sync: Any) -> None:
    (conflict,) = sync.conflicts()
    state = sync.resolve(conflict["id"])
    assert (state.version, state.data) == (5, {"mine": 1})
    assert sync.get_local_state() == state
    assert sync.conflicts() == []
    assert sync.get_pending_changes()[-1]["version"] == 5


def test_the_choice_is_free_and_reaches_the_cloud(sync: Any, cloud: Any, worker: Any) -> None:
    cloud.update("room", {"theirs": 1})
    (conflict,) = sync.conflicts()
    state = sync.resolve(conflict["id"], {"mine": 1, "theirs": 1})
    worker.run_once()
    assert cloud.get("room") == state == sync.get_local_state()
    assert state.data == {"mine": 1, "theirs": 1}


@pytest.mark.parametrize(
    ("conflict_id", "error"),
    [
        ("0-1", InvalidArgumentError),
        ("-", InvalidArgumentError),
        ("+", InvalidArgumentError),
        ("(0-1", InvalidArgumentError),
        ("1", InvalidArgumentError),
        ("\u0661-1", InvalidArgumentError),
        ("", InvalidKeyError),
        (None, InvalidTypeError),
        (1, InvalidTypeError),
    ],
)
def test_an_id_that_is_none_is_refused(sync: Any, backend: Backend, conflict_id: Any, error: Any) -> None:
    before = dump(backend)
    with pytest.raises(error):
        sync.resolve(conflict_id)
    assert dump(backend) == before


def test_a_choice_that_cannot_be_written_leaves_the_conflict(sync: Any, backend: Backend) -> None:
    before = dump(backend)
    with pytest.raises(InvalidTypeError):
        sync.resolve(sync.conflicts()[0]["id"], [])
    assert dump(backend) == before


def make_conflict(backend: Backend) -> str:
    """Write a state that loses to one from elsewhere; return the id of the conflict."""
    with backend.client() as client, EdgeSynchronizer(client, scope="room") as sync:
        sync.update_local({"mine": 1})
        sync.apply_remote(remote({"theirs": 1}, 4, origin="cloud"))
        return str(sync.conflicts()[0]["id"])


def test_of_threads_that_resolve_one_conflict_at_once_a_single_one_succeeds(backend: Backend) -> None:
    conflict, start = make_conflict(backend), Barrier(4)
    with backend.client() as client, EdgeSynchronizer(client, scope="room") as sync:

        def resolve(number: int) -> bool:
            start.wait(10)
            try:
                return sync.resolve(conflict, {"choice": number}).data == {"choice": number}
            except InvalidArgumentError:
                return False

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(resolve, range(4))) == 1
        assert (sync.local_version, sync.conflicts()) == (5, [])


def test_of_tasks_that_resolve_one_conflict_at_once_a_single_one_succeeds(backend: Backend) -> None:
    conflict = make_conflict(backend)

    async def main() -> None:
        async with backend.async_client() as client, edge_redis.aio.EdgeSynchronizer(client, scope="room") as sync:
            calls = [sync.resolve(conflict, {"choice": number}) for number in range(4)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert sum(not isinstance(each, InvalidArgumentError) for each in outcomes) == 1
            assert (await sync.local_version, await sync.conflicts()) == (5, [])

    asyncio.run(main())


def test_a_conflict_is_resolved_once(sync: Any) -> None:
    (conflict,) = sync.conflicts()
    sync.resolve(conflict["id"])
    with pytest.raises(InvalidArgumentError, match="of this scope"):
        sync.resolve(conflict["id"])
    assert sync.local_version == 5
