"""SqlCloudStore keeps the rules of RedisCloudStore where the tests of every cloud plant nothing in its tables."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import fakeredis
import pytest
import sqlalchemy as sa

from edge_redis import (
    ChecksumMismatchError,
    CloudWorker,
    ConflictStrategy,
    CorruptDataError,
    EdgeSynchronizer,
    InvalidArgumentError,
    InvalidTypeError,
    TooManyFieldsError,
    ValueTooLargeError,
)
from edge_redis._sync import fields
from edge_redis._sync.signing import Keyring, Signer
from edge_redis.cloudstores import _tombstones as collecting
from edge_redis.cloudstores._tables import CONFLICTS, DOCUMENTS
from edge_redis.cloudstores.sql import AsyncSqlCloudStore, SqlCloudStore
from support.checked import present
from support.clouds import Base, change

REMOTE, MERGE = ConflictStrategy.REMOTE_WINS, ConflictStrategy.MERGE
KEY = b"a key of the till"


def plant(base: Base, scope: Any = "room", table: Any = DOCUMENTS, **values: Any) -> None:
    here = (table.c.namespace == base.namespace) & (table.c.scope == scope)
    base.execute(sa.update(table).where(here).values(values))


def flip(body: Any) -> Any:
    return body[:-1] + bytes([body[-1] ^ 1])


def document_of(base: Base, scope: Any) -> Any:
    (row,) = [row for row in base.rows()["edge_redis_documents"] if row["scope"] == scope]
    return row


class TestCollecting:
    def test_every_row_goes_a_few_scopes_a_transaction(self, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(collecting, "_PAGE", 3)
        monkeypatch.setattr(collecting, "_ROWS", 4)
        store, removed = base.store(), []
        for number in range(7):
            store.apply(f"s{number}", [change(1), change(2, {"m": 1}, "two")], REMOTE)
        for scope in ("merged", "lives"):
            for version in (1, 2):
                store.apply(scope, [change(version, {f"{version}": 1}, f"edge-{version}")], MERGE)
        for scope in ("s0", "s2", "s4", "s6", "merged"):
            assert store.delete(scope)
        sa.event.listen(store._database.engine, "before_cursor_execute", lambda *call: removed.append(call[2]))
        assert store.purge_tombstones(3600) == 0
        assert store.purge_tombstones(0) == 5
        assert len([text for text in removed if text.startswith("DELETE FROM edge_redis_documents")]) == 5
        assert store.purge_tombstones(0) == 0
        rows = base.rows()
        assert {row["scope"] for row in rows.pop("edge_redis_purged")} == {"s0", "s2", "s4", "s6", "merged"}
        for table, found in rows.items():
            assert {row.get("scope", "s1") for row in found} <= {"s1", "s3", "s5", "lives"}, table
        assert present(store.get("lives")).data == {"1": 1, "2": 1}

    def test_what_is_created_comes_after_the_newest_delete_that_was_forgotten(
        self, base: Base, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = base.store()
        store.apply("far", [change(2**33, clock="1" + "7" * 17)], REMOTE)
        store.update("near", {"n": 1})
        for scope in ("far", "near"):
            store.delete(scope)
        assert store.purge_tombstones(0) == 1  # the clock of the other one runs ahead of the time
        assert store.update("new", {"n": 1}).version == 3
        monkeypatch.setattr(store._database, "now", lambda _: 2 * 10**17)
        assert store.purge_tombstones(0) == 1
        monkeypatch.undo()
        assert store.update("far", {"n": 1}).version == 2**33 + 2
        assert document_of(base, "far")["head"]["clock"] == "1" + "7" * 16 + "9"
        assert store.apply("near", [change(1)], REMOTE) == ["rejected"]  # from before the delete
        assert store.get("near") is None
        later = change(1, clock=f"{int(document_of(base, 'far')['head']['clock']) + 1}")
        assert store.apply("near", [later], REMOTE) == ["accepted"]  # an edge that has not heard of it writes again

    @pytest.mark.parametrize("strategy", [REMOTE, MERGE])
    def test_a_scope_that_is_created_again_meanwhile_is_kept(
        self, base: Base, monkeypatch: pytest.MonkeyPatch, strategy: Any
    ) -> None:
        store, other = base.store(), base.store()
        for version in (1, 2):
            store.apply("room", [change(version)], strategy)
        store.delete("room")
        write, created = store._database.write, []

        def late(action: Any, work: Any) -> Any:
            created.append(other.update("room", {"n": 2}))
            return write(action, work)

        monkeypatch.setattr(store._database, "write", late)
        assert store.purge_tombstones(0) == 0
        assert created == [store.get("room")]

    def test_what_was_cut_down_to_nothing_is_no_delete(self, file: Base) -> None:
        store = file.store()
        for scope in ("room", "headless"):
            store.update(scope, {"n": 1})
        plant(file, body=b"")
        plant(file, "headless", body=b"", head={"version": 1})
        assert store.purge_tombstones(0) == 0


HARM = {
    "no version": {"head": {"clock": "0" * 18}},
    "another type": {"head": {"version": "1", "clock": "", "origin": "", "checksum": "", "ancestor": ""}},
    "no dict": {"head": ["version"]},
    "no body": {"body": None},
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_a_damaged_document_is_named_by_the_feed_and_holds_up_no_other(
    base: Base, caplog: pytest.LogCaptureFixture, harm: Any
) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")
    store, edge = base.store(), fakeredis.FakeRedis()
    for scope in ("before", "room", "after"):
        store.update(scope, {"n": 2})
    plant(base, **harm)
    feed = store.changes_since()
    assert [scope for scope, _ in feed.changes] == ["before", "after"]
    ((scope, reason),) = feed.damaged
    assert (scope, "damaged" in reason) == ("room", True)
    with pytest.raises(CorruptDataError):
        store.get("room")
    with CloudWorker(edge, store, namespace=base.namespace) as worker:
        worker.run_once()
    after, damaged = (EdgeSynchronizer(edge, scope=name, namespace=base.namespace) for name in ("after", "room"))
    assert after.get_local_state() == store.get("after")
    assert [event.success for event in damaged.sync_history()] == [False]


def test_text_that_is_no_json_is_damaged_too(file: Base) -> None:
    store = file.store()
    store.update("room", {"n": 1})
    store.update("other", {"n": 1})
    file.execute("UPDATE edge_redis_documents SET head = '{\"ver', body = 'text' WHERE scope = 'room'")
    assert [scope for scope, _ in store.changes_since().damaged] == ["room"]
    for call in (store.get, lambda scope: store.update(scope, {"n": 2})):
        with pytest.raises(CorruptDataError):
            call("room")


@pytest.mark.parametrize("strategy", [REMOTE, MERGE])
def test_a_flipped_byte_is_noticed_wherever_a_state_goes_on_from(file: Base, strategy: Any) -> None:
    store = file.store()
    for version in (1, 2):
        store.apply("room", [change(version, {"n": 2}, f"o{version}")], strategy)
    plant(file, body=flip(document_of(file, "room")["body"]))
    before = file.rows()
    calls: list[Callable[[], object]] = [
        lambda: store.get("room"),
        lambda: store.update("room", {"m": 1}, is_delta=True),
        lambda: store.delete_fields("room", "n"),
    ]
    if strategy is MERGE:
        calls += [
            lambda: store.apply("room", [change(3, {"m": 1})], REMOTE),
            lambda: store.update("room", {"m": 1}),
        ]
    for call in calls:
        with pytest.raises(ChecksumMismatchError, match="damaged"):
            call()
    assert file.rows() == before
    if strategy is REMOTE:
        assert store.update("room", {"m": 1}) == store.get("room")  # which mends it
        plant(file, body=b"\xc1")
        with pytest.raises(CorruptDataError):
            store.get("room")


def test_a_damaged_conflict_is_not_shown(file: Base) -> None:
    store = file.store()
    for version in (1, 2):
        store.apply("room", [change(version, origin=f"o{version}")], REMOTE)
    (lost,) = file.rows()["edge_redis_conflicts"]
    plant(file, table=CONFLICTS, body=flip(lost["body"]))
    with pytest.raises(ChecksumMismatchError, match="conflict 1 is damaged"):
        store.conflicts("room")


@pytest.mark.parametrize("strategy", [REMOTE, MERGE])
def test_limits_bind_what_is_written_here_and_not_what_edges_push(file: Base, strategy: Any) -> None:
    small = file.store(max_bytes=120, max_fields=2)
    for version in (1, 2):
        small.apply("room", [change(version, {f"f{number}": 0 for number in range(4)})], strategy)
    before = file.rows()
    calls: list[tuple[Callable[[], object], type[Exception]]] = [
        (lambda: small.update("new", {"a": 1, "b": 1, "c": 1}), TooManyFieldsError),
        (lambda: small.update("new", {"a": "x" * 120}), ValueTooLargeError),
        (lambda: small.update("room", {"f1": 1}, is_delta=True), TooManyFieldsError),
        (lambda: small.update("room", {"a": "x" * 120}, is_delta=True), ValueTooLargeError),
    ]
    for call, error in calls:
        with pytest.raises(error, match="the limit is"):
            call()
    assert file.rows() == before
    assert len(small.delete_fields("room", "f0").data) == 3  # on its way back within the limits
    small.update("plain", {"a": 1})
    with pytest.raises(ValueTooLargeError):
        small.update("plain", {"b": "x" * 114}, is_delta=True)


@pytest.mark.parametrize("name", ["max_bytes", "max_fields"])
@pytest.mark.parametrize(("value", "error"), [(0, InvalidArgumentError), (True, InvalidTypeError)])
def test_bad_limits(name: Any, value: Any, error: Any) -> None:
    for kind in (SqlCloudStore, AsyncSqlCloudStore):
        with pytest.raises(error, match=name):
            kind("sqlite://", **{name: value})


@pytest.mark.parametrize("strategy", [REMOTE, ConflictStrategy.LATEST_WINS, MERGE])
def test_a_signature_travels_with_its_change(base: Base, strategy: Any) -> None:
    store, keyring = base.store(), Keyring(base.namespace, {"till": KEY})
    signer = Signer(base.namespace, "till", KEY, is_renewable=False)

    def signed(version: Any) -> Any:
        made = change(version)
        return replace(made, signature=signer.sign("room", version, made.clock, made.checksum))

    for version in (1, 2):
        store.apply("room", [signed(version)], strategy)
        ((_, found),) = store.changes_since().changes
        if not fields.is_merged(found.body):
            assert found == signed(version)
            keyring.check_change("room", found)
    if strategy is REMOTE:
        store.apply("room", [signed(1)], strategy)  # which is refused, and changes nothing
        assert store.changes_since().changes == [("room", signed(2))]
    store.update("room", {"n": 9})
    ((_, found),) = store.changes_since().changes
    assert (found.name, found.signature) == ("cloud", "")


def test_so_many_origins_are_remembered_and_no_more(base: Base) -> None:
    store = base.store()
    for start in range(1, 1500, 250):
        store.apply("room", [change(number, origin=f"e{number}") for number in range(start, start + 250)], REMOTE)
    kept = {row["origin"] for row in base.rows()["edge_redis_seen"]}
    assert kept == {f"e{number}" for number in range(501, 1501)}
    assert store.apply("room", [change(1500, origin="e1500"), change(1400, origin="e1400")], REMOTE) == [
        "duplicate",
        "rejected",
    ]
    assert present(store.get("room")).version == 1500


def test_scopes_are_pushed_at_once_where_the_database_has_several_writers(base: Base) -> None:
    expected = 4 if base.url.startswith("postgresql") else 1
    for kind in (SqlCloudStore, AsyncSqlCloudStore):
        assert kind(base.url).scopes_at_once == expected
    store, edge = base.store(), fakeredis.FakeRedis()
    syncs = [EdgeSynchronizer(edge, scope=f"s{n}", namespace=base.namespace) for n in range(8)]
    states = [sync.update_local({"n": 1}) for sync in syncs]
    with CloudWorker(edge, store, namespace=base.namespace) as worker:
        assert worker.run_once() == 8
    assert [store.get(f"s{n}") for n in range(8)] == states


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_the_same_state_of_another_origin_comes_with_the_feed(file: Base, strategy: Any) -> None:
    """Two origins may write the same at the same moment: edges that have the one must hear of the other."""
    store = file.store()
    store.apply("room", [change(1, origin="one"), change(1, origin="one")], strategy)
    cursor = store.changes_since().cursor
    store.apply("room", [change(1, origin="two")], ConflictStrategy.REMOTE_WINS)
    ((_, found),) = store.changes_since(cursor).changes
    assert (found.version, found.origin) == (1, "two")
