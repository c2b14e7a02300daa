"""What comes from the other end: which state wins, what is recorded, what of the loser is kept."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from conftest import Maker

from edge_redis import ChecksumMismatchError, ConflictStrategy, InvalidArgumentError, SyncState
from edge_redis._sync import clock
from support.servers import Backend
from support.sync import EDGE, NOON, dump, remote

LATEST, LOCAL, REMOTE = ConflictStrategy.LATEST_WINS, ConflictStrategy.LOCAL_WINS, ConflictStrategy.REMOTE_WINS


def events(sync: Any) -> Any:
    return [(event.direction, event.version, event.success) for event in sync.sync_history()]


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_without_a_local_state_any_is_applied(make: Maker, strategy: Any) -> None:
    sync = make("EdgeSynchronizer", strategy)
    state = remote({"a": 1}, 7, origin="elsewhere", at=NOON)
    assert sync.apply_remote(state) is True
    assert sync.get_local_state() == state
    assert (sync.local_version, sync.remote_version, sync.pending_count, sync.is_synced) == (7, 7, 0, True)
    assert events(sync) == [("pull", 7, True)]
    assert sync.conflicts() == []


@pytest.mark.parametrize(
    ("version", "origin", "applied"),
    [
        (1, "zzz", False),
        (2, "", False),
        (2, "a", False),
        (2, "z", True),
        (2, "cloud", True),
        (3, "", True),
        (3, "a", True),
    ],
)
def test_remote_wins_by_version_then_authority_then_origin(
    make: Maker, version: Any, origin: Any, applied: Any
) -> None:
    sync = make("EdgeSynchronizer", REMOTE, origin="m")
    sync.update_local({"n": 1})
    mine = sync.update_local({"n": 2})
    theirs = remote({"r": 1}, version, origin=origin)
    assert sync.apply_remote(theirs) is applied
    assert sync.get_local_state() == (theirs if applied else mine)
    assert sync.remote_version == version
    assert events(sync) == [("pull", version, applied)]
    (conflict,) = sync.conflicts()
    assert conflict["lost"] == ("local" if applied else "remote")
    assert conflict["data"] == ({"n": 2} if applied else {"r": 1})


def test_equal_versions_and_origins_are_decided_by_checksum(make: Maker) -> None:
    one, two = remote({"a": 1}, 1, origin="m"), remote({"a": 2}, 1, origin="m")
    higher = max(one, two, key=lambda state: state.checksum)
    for scope, order in (("x", (one, two)), ("y", (two, one))):
        sync = make("EdgeSynchronizer", scope=scope)
        for state in order:
            sync.apply_remote(state)
        assert sync.get_local_state() == higher


def test_origins_are_compared_bytewise(make: Maker) -> None:
    # By the rules of most languages "ä" stands before "z", and "a" before "B".
    for scope, low, high in (("x", "z", "ä"), ("y", "B", "a"), ("z", "a", "a\x03")):
        sync = make("EdgeSynchronizer", scope=scope, origin=low)
        sync.update_local({"n": 1})
        assert sync.apply_remote(remote({"r": 1}, 1, origin=high)) is True


@pytest.mark.parametrize("backend", ["fakeredis", "valkey"], indirect=True)
def test_so_many_origins_are_remembered_and_no_more(make: Maker, backend: Backend) -> None:
    sync, key = make("EdgeSynchronizer"), f"{EDGE}:doc:default"

    def state(number: int) -> SyncState:
        return remote({"n": 1}, number, origin=f"e{number}", at=NOON + timedelta(seconds=number))

    def seen(number: int) -> str:
        return f"{number}:{state(number).checksum[:16]}:{clock.from_datetime(state(number).updated_at)}"

    with backend.client() as client:
        sync.apply_remote(state(1))
        assert client.hget(key, "seen:e1").decode() == seen(1)
        client.hset(key, mapping={f"seen:e{number}": seen(number) for number in range(2, 990)})
        for number in range(990, 1012):
            sync.apply_remote(state(number))
        kept = {name for name in client.hkeys(key) if name.startswith(b"seen:")}
    assert 900 <= len(kept) <= 1000
    assert kept == {b"seen:e%d" % number for number in range(1012 - len(kept), 1012)}
    assert sync.local_version == 1011


def test_the_same_state_again_is_no_conflict(make: Maker) -> None:
    sync = make("EdgeSynchronizer")
    state = remote({"a": 1}, 3, origin="cloud")
    assert sync.apply_remote(state) is True
    assert sync.apply_remote(state) is False
    assert events(sync) == [("pull", 3, True), ("pull", 3, False)]
    assert sync.sync_history()[-1].error == "already applied"
    assert sync.conflicts() == []


def test_a_state_that_follows_a_synced_one_is_no_conflict(make: Maker) -> None:
    sync = make("EdgeSynchronizer")
    sync.update_local({"a": 1})
    sync.confirm_sync(1)
    assert sync.apply_remote(remote({"a": 2}, 2, origin="cloud")) is True
    assert sync.conflicts() == []


@pytest.mark.parametrize(("seconds", "applied"), [(-1, False), (1, True)])
@pytest.mark.parametrize("version", [1, 9])
def test_latest_wins_by_time_whatever_the_version(make: Maker, seconds: Any, applied: Any, version: Any) -> None:
    sync = make("EdgeSynchronizer", LATEST)
    sync.update_local({"n": 1})
    mine = sync.update_local({"n": 2})
    theirs = remote({"r": 1}, version, at=mine.updated_at + timedelta(seconds=seconds))
    assert sync.apply_remote(theirs) is applied
    won = replace(theirs, version=max(2, version)) if applied else mine
    assert sync.get_local_state() == won
    assert events(sync)[0][2] is applied


def test_latest_wins_to_the_microsecond(make: Maker) -> None:
    sync = make("EdgeSynchronizer", LATEST)
    sync.apply_remote(remote({"n": 1}, 1, at=NOON))
    assert sync.apply_remote(remote({"n": 2}, 1, at=NOON - timedelta(microseconds=1))) is False
    assert sync.apply_remote(remote({"n": 3}, 1, at=NOON + timedelta(microseconds=1))) is True


def test_a_tie_of_latest_wins_is_broken_the_same_way_everywhere(make: Maker) -> None:
    states = [
        remote({"n": 1}, 1, origin="a", at=NOON),
        remote({"n": 2}, 4, origin="b", at=NOON),
        remote({"n": 3}, 2, at=NOON),
    ]
    for scope, order in (("x", states), ("y", states[::-1])):
        sync = make("EdgeSynchronizer", LATEST, scope=scope)
        for state in order:
            sync.apply_remote(state)
        assert sync.get_local_state().data == {"n": 2}
        assert sync.local_version == 4


def test_a_late_write_of_a_slow_clock_does_not_lose_to_what_it_replaces(make: Maker) -> None:
    sync = make("EdgeSynchronizer", LATEST)
    ahead = remote({"r": 1}, 1, at=NOON.replace(year=2400))
    sync.apply_remote(ahead)
    mine = sync.update_local({"n": 1})
    assert sync.apply_remote(ahead) is False
    assert sync.get_local_state() == mine


@pytest.mark.parametrize("version", [1, 5])
def test_local_wins_never_over_local_state(make: Maker, version: Any) -> None:
    sync = make("EdgeSynchronizer", LOCAL)
    mine = sync.update_local({"n": 1})
    assert sync.apply_remote(remote({"r": 1}, version, origin="cloud")) is False
    state = sync.get_local_state()
    assert (state.data, state.checksum, state.origin) == (mine.data, mine.checksum, mine.origin)
    assert events(sync) == [("pull", version, False)]
    assert [conflict["data"] for conflict in sync.conflicts()] == [{"r": 1}]


def test_local_wins_asserts_its_state_above_the_remote_one(make: Maker) -> None:
    sync = make("EdgeSynchronizer", LOCAL)
    sync.update_local({"n": 1})
    sync.apply_remote(remote({"r": 1}, 5, origin="cloud"))
    assert (sync.local_version, sync.remote_version) == (6, 5)
    assert [(change["version"], change["data"]) for change in sync.get_pending_changes()] == [
        (1, {"n": 1}),
        (6, {"n": 1}),
    ]
    # A lower one is older than what is on its way.
    assert sync.apply_remote(remote({"r": 1}, 3, origin="cloud")) is False
    assert sync.local_version == 6


@pytest.mark.parametrize("field", ["data", "checksum"])
def test_a_damaged_state_is_refused_and_recorded(make: Maker, backend: Backend, field: Any) -> None:
    sync = make("EdgeSynchronizer")
    sync.update_local({"n": 1})
    whole = remote({"r": 1}, 5)
    damaged = replace(whole, data={"r": 2}) if field == "data" else replace(whole, checksum="0" * 64)
    before = dump(backend)
    with pytest.raises(ChecksumMismatchError):
        sync.apply_remote(damaged)
    assert events(sync) == [("pull", 5, False)]
    assert "damaged" in sync.sync_history()[0].error
    after = dump(backend)
    changed = {key for key in after if after[key] != before.get(key)}
    assert all(b":history:" in key or b":repeats:" in key for key in changed)


def test_versions_go_on_from_the_remote_one(make: Maker) -> None:
    sync = make("EdgeSynchronizer")
    sync.update_local({"n": 1})
    sync.apply_remote(remote({"r": 1}, 5, origin="cloud"))
    assert sync.update_local({"n": 2}, is_delta=True).data == {"r": 1, "n": 2}
    assert [change["version"] for change in sync.get_pending_changes()] == [1, 6]


def test_what_a_conflict_tells(make: Maker) -> None:
    sync = make("EdgeSynchronizer", origin="here")
    mine = sync.update_local({"n": 1})
    theirs = remote({"r": 1}, 4, origin="there", at=NOON)
    sync.apply_remote(theirs)
    (conflict,) = sync.conflicts()
    assert abs(conflict.pop("timestamp") - mine.updated_at) < timedelta(seconds=5)
    assert conflict.pop("id").endswith("-0")
    assert conflict == {
        "lost": "local",
        "version": 1,
        "data": {"n": 1},
        "checksum": mine.checksum,
        "updated_at": mine.updated_at,
        "origin": "here",
        "winner": {"version": 4, "checksum": theirs.checksum, "updated_at": NOON, "origin": "there"},
    }


def test_conflicts_are_capped_and_listed_oldest_first(make: Maker) -> None:
    sync = make("EdgeSynchronizer", max_conflicts=3)
    sync.update_local({"n": 1})
    for version in range(2, 7):
        sync.apply_remote(remote({"r": version}, 0, origin=f"o{version}"))
    assert [conflict["data"]["r"] for conflict in sync.conflicts()] == [4, 5, 6]
    assert [conflict["data"]["r"] for conflict in sync.conflicts(1)] == [6]


def test_strategies_may_be_given_by_value(make: Maker) -> None:
    sync = make("EdgeSynchronizer", "latest_wins")
    assert sync.summary()["conflict_strategy"] == "latest_wins"


def test_from_data_of_one_process_in_turn(make: Maker) -> None:
    sync = make("EdgeSynchronizer", LATEST)
    sync.update_local({"n": 1})
    assert sync.apply_remote(SyncState.from_data({"n": 2}, 1)) is True
    assert sync.get_local_state().data == {"n": 2}


def test_the_highest_version_that_is_taken_leaves_versions_above_it(make: Maker) -> None:
    sync = make("EdgeSynchronizer", LOCAL, scope="room")
    sync.update_local({"ours": 1})
    assert sync.apply_remote(remote({"theirs": 1}, 2**52, origin="z")) is False
    assert sync.local_version == 2**52 + 1
    assert [sync.update_local({"n": number}).version for number in range(3)] == [2**52 + 2 + n for n in range(3)]
    assert [change["version"] for change in sync.get_pending_changes()][-1] == 2**52 + 4
    assert sync.confirm_sync(2**52 + 4) == 5
    with pytest.raises(InvalidArgumentError):
        sync.apply_remote(remote({"theirs": 1}, 2**52 + 1, origin="z"))


def test_a_document_at_the_last_version_there_is_says_so(make: Maker, backend: Backend) -> None:
    sync = make("EdgeSynchronizer", scope="room")
    sync.update_local({"n": 1})
    with backend.client() as client:
        client.hset("er:{default:sync0}:doc:room", "version", 2**53 - 2)
    with pytest.raises(InvalidArgumentError, match="last version"):
        sync.update_local({"n": 2})
    assert sync.pending_count == 1
