"""SqlCloudStore on SQLite and on PostgreSQL: what the tests of every cloud (``cloud``, ``worker``) do not show."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import sqlalchemy as sa

from edge_redis import (
    CloudWorker,
    ConflictStrategy,
    CorruptDataError,
    EdgeRedisError,
    EdgeSynchronizer,
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTypeError,
    ServiceClosedError,
    StoreReadOnlyError,
    StoreRefusedError,
    StoreReplyError,
    StoreTimeoutError,
    StoreUnavailableError,
    aio,
)
from edge_redis._sync.cloud import Cloud
from edge_redis.cloudstores import Change, encode_data
from edge_redis.cloudstores._scope_rows import ScopeRows
from edge_redis.cloudstores._tables import DOCUMENTS, METADATA, STORES
from edge_redis.cloudstores.sql import AsyncSqlCloudStore, SqlCloudStore
from support.checked import present
from support.clouds import Base, change, sqlite
from support.deadline import eventually
from support.postgres import Postgres

REMOTE = ConflictStrategy.REMOTE_WINS


@pytest.fixture
def server(postgres: Postgres) -> Iterator[Any]:
    made = Base(postgres.url)
    yield made
    made.close()


def together(*calls: Any) -> Any:
    """Call them at once, each in a thread; return what each returned."""
    barrier = threading.Barrier(len(calls))

    def run(call: Any) -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(run, call) for call in calls]]


def test_tables_are_made_once_by_all_that_begin_at_once(base: Base) -> None:
    METADATA.drop_all(base.engine())
    stores = [base.store() for _ in range(6)]
    together(*(lambda store=store, n=n: store.update(f"s{n}", {"n": n}) for n, store in enumerate(stores)))
    assert sorted(scope for scope, _ in stores[0].changes_since().changes) == [f"s{n}" for n in range(6)]
    assert len(base.rows()["edge_redis_stores"]) == 1


def test_no_delta_of_stores_that_write_at_once_is_lost_and_versions_have_no_gap(base: Base) -> None:
    stores, each = [base.store() for _ in range(4)], 8

    def write(name: Any) -> Any:
        return [stores[name].update("room", {f"{name}-{n}": n}, is_delta=True).version for n in range(each)]

    versions = together(*(lambda name=name: write(name) for name in range(4)))
    assert sorted(version for found in versions for version in found) == list(range(1, 4 * each + 1))
    assert all(found == sorted(found) for found in versions)
    assert present(stores[0].get("room")).data == {f"{name}-{n}": n for name in range(4) for n in range(each)}


def test_what_two_workers_apply_at_once_takes_effect_once(base: Base) -> None:
    changes = [change(version) for version in range(1, 21)]
    stores = [base.store() for _ in range(3)]
    letters = together(*(lambda store=store: store.apply("room", changes, REMOTE) for store in stores))
    accepted = [[found[at] for found in letters].count("accepted") for at in range(20)]
    assert accepted == [1] * 20
    assert [event.version for event in stores[0].sync_history("room", 100)] == list(range(1, 21))
    assert stores[0].conflicts("room") == []


def test_a_reader_of_the_feed_misses_nothing_that_is_committed_beside_it(base: Base) -> None:
    store, writers = base.store(), [base.store() for _ in range(3)]
    ended, newest, places = threading.Event(), {}, []

    def read() -> None:
        cursor = ""
        while True:
            last = ended.is_set()
            feed = store.changes_since(cursor, 2)
            newest.update({scope: each.version for scope, each in feed.changes})
            cursor = feed.cursor
            places.append(int(cursor.partition(":")[2]))
            if last and not feed.changes:
                return

    reader = threading.Thread(target=read)
    reader.start()
    together(*(lambda w=w, n=n: [w.update(f"{n}-{i % 4}", {"i": i}) for i in range(12)] for n, w in enumerate(writers)))
    ended.set()
    reader.join(30)
    assert newest == {f"{n}-{i}": 3 for n in range(3) for i in range(4)}
    assert places == sorted(places)
    assert places[-1] == 36


def test_a_number_of_the_feed_is_not_seen_before_a_lower_one(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first writer has its number and does not commit: the second one, of another scope, waits for it."""
    first, second, reader = server.store(), server.store(), server.store()
    second.update("c", {})
    start = reader.changes_since().cursor
    numbered, go_on = threading.Event(), threading.Event()
    write = ScopeRows.write

    def stop_after(self: Any, *args: Any, **kwargs: Any) -> None:
        write(self, *args, **kwargs)
        if self._scope == "a":
            numbered.set()
            assert go_on.wait(30)

    monkeypatch.setattr(ScopeRows, "write", stop_after)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first.update, "a", {"n": 1})
        assert numbered.wait(30)
        two = pool.submit(second.update, "b", {"n": 2})
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        eventually(lambda: server.execute(waiting).scalar_one())
        assert not two.done()
        assert reader.changes_since(start).changes == []
        go_on.set()
        assert one.result(30).version == two.result(30).version == 1
    assert [scope for scope, _ in reader.changes_since(start).changes] == ["a", "b"]


@pytest.mark.parametrize("strategy", [REMOTE, ConflictStrategy.LATEST_WINS, ConflictStrategy.MERGE])
def test_cut_off_at_any_statement_nothing_is_half_applied(base: Base, strategy: Any) -> None:
    store = base.store()
    store.update("room", {"cloud": 1})
    before, statements = base.rows(), []
    changes = [change(5, origin="one", clock=f"{10**17:018d}"), change(6, {"m": 1}, "two"), change(1, origin="three")]

    def cut(_connection: Any, _cursor: Any, statement: Any, *_: Any) -> None:
        statements.append(statement)
        if len(statements) > allowed:
            raise ConnectionAbortedError("cut")

    engine = store._database.engine
    for allowed in count():  # noqa: B007 -- ``cut`` reads it
        statements.clear()
        sa.event.listen(engine, "before_cursor_execute", cut)
        try:
            store.apply("room", changes, strategy)
        except ConnectionAbortedError:
            pass
        else:
            break
        finally:
            sa.event.remove(engine, "before_cursor_execute", cut)
        assert base.rows() == before
    assert allowed >= 5
    assert store.apply("room", changes, strategy).count("accepted") == 0
    assert len(store.sync_history("room")) == len({row["number"] for row in base.rows()["edge_redis_history"]})


def test_bodies_up_to_the_limit_of_the_codec(base: Base) -> None:
    store = base.store()
    blob = bytes(range(256)) * (65_536 - 1)
    state = store.update("room", {"blob": blob})
    assert present(store.get("room")).data == {"blob": blob}
    body = encode_data({"blob": blob[::-1]})
    large = Change(2, "2".rjust(18, "0"), "till", hashlib.sha256(body).hexdigest(), "", body)
    assert store.apply("room", [large, large], REMOTE) == ["accepted", "duplicate"]
    (conflict,) = store.conflicts("room")
    assert conflict["data"] == state.data
    store.update("hall", {"n": 1})
    first = store.changes_since()  # a page is some MiB, of one scope at least
    assert [scope for scope, _ in first.changes] == ["room"]
    assert [scope for scope, _ in store.changes_since(first.cursor).changes] == ["hall"]
    with pytest.raises(InvalidArgumentError):
        store.update("room", {"blob": blob + blob})


def test_what_is_kept_is_bounded(base: Base) -> None:
    store = base.store(max_history=3, max_conflicts=2)
    for version in range(1, 8):
        store.apply("room", [change(version, origin=f"o{version}")], REMOTE)
    assert [event.version for event in store.sync_history("room")] == [5, 6, 7]
    assert [conflict["version"] for conflict in store.conflicts("room")] == [5, 6]
    store.apply("room", [change(version, origin=f"p{version}") for version in range(8, 18)], REMOTE)
    assert [event.version for event in store.sync_history("room")] == [15, 16, 17]
    assert [conflict["id"] for conflict in store.conflicts("room")] == ["15", "16"]
    assert len(base.rows()["edge_redis_history"]) == 3


def test_namespaces_share_nothing(base: Base) -> None:
    one, other = base.store(), base.store(namespace=f"{base.namespace}-other")
    one.update("room", {"n": 1})
    other.update("room", {"n": 2})
    assert (present(one.get("room")).data, present(other.get("room")).data) == ({"n": 1}, {"n": 2})
    assert one.changes_since().cursor != other.changes_since().cursor
    assert one.changes_since(other.changes_since().cursor).restarted


def test_tables_that_somebody_removed_are_made_again_and_edges_offer_all(
    base: Base, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")
    store, edge = base.store(), fakeredis.FakeRedis()
    sync = EdgeSynchronizer(edge, scope="room", namespace=base.namespace)
    state = sync.update_local({"n": 1})
    worker = CloudWorker(edge, store, namespace=base.namespace)
    worker.run_once()
    METADATA.drop_all(base.engine())
    worker.run_once()
    assert store.get("room") == state


def test_a_head_with_a_field_of_a_later_version_is_read_and_one_that_lacks_some_is_damaged(base: Base) -> None:
    store = base.store()
    state = store.update("room", {"n": 1})
    head = base.rows()["edge_redis_documents"][0]["head"]
    mine = DOCUMENTS.c.namespace == base.namespace
    base.execute(sa.update(DOCUMENTS).where(mine).values(head={**head, "of_later": "x"}))
    assert store.get("room") == state
    base.execute(sa.update(DOCUMENTS).where(mine).values(head={"version": 1}))
    with pytest.raises(CorruptDataError):
        store.get("room")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda s: s.get("a\0b"), InvalidKeyError),
        (lambda s: s.update("a\0b", {}), InvalidKeyError),
        (lambda s: s.apply("room", [change(1, origin="a\0b")], REMOTE), InvalidKeyError),
        (lambda s: s.apply("room", [change(1, origin="x" * 1025)], REMOTE), InvalidKeyError),
        (lambda s: s.apply("room", [change(9_007_199_254_740_000)], REMOTE), CorruptDataError),
        (lambda s: s.apply("room", [change(1, clock="yesterday")], REMOTE), CorruptDataError),
        (lambda s: s.apply("room", [change(1, clock="9" * 18)], REMOTE), CorruptDataError),
        (lambda s: s.apply("room", [change(1), change(2, clock="0")], REMOTE), CorruptDataError),
    ],
)
def test_what_cannot_be_kept_is_refused(base: Base, call: Any, error: Any) -> None:
    store = base.store()
    before = base.rows()
    with pytest.raises(error):
        call(store)
    assert base.rows() == before
    assert store.apply("room", [], REMOTE) == []
    assert base.rows() == before


@pytest.mark.parametrize(
    ("database", "error"),
    [
        ("mysql://h/x", InvalidArgumentError),
        ("nonsense", InvalidArgumentError),
        ("", InvalidArgumentError),
        ("postgresql+nodriver://h/x", InvalidArgumentError),
        ("postgresql+psycopg://user:se:cret@h:port/x", InvalidArgumentError),
        (None, InvalidTypeError),
        (fakeredis.FakeRedis(), InvalidTypeError),
        (sa.create_engine("sqlite://"), InvalidArgumentError),
    ],
)
def test_a_database_that_cannot_be_one(database: Any, error: Any) -> None:
    with pytest.raises(error) as raised:
        SqlCloudStore(database)
    assert "cret" not in str(raised.value)


@pytest.mark.parametrize("arguments", [{"namespace": "a{"}, {"namespace": "a\0"}, {"max_history": 0}])
def test_arguments_that_cannot_be_used(arguments: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        SqlCloudStore("sqlite://", **arguments)


def test_a_database_in_memory_is_one_for_all_threads() -> None:
    with SqlCloudStore("sqlite://") as store:
        together(*(lambda n=n: store.update("room", {f"{n}": n}, is_delta=True) for n in range(4)))
        assert present(store.get("room")).version == 4


def test_closed(base: Base, tmp_path: Path) -> None:
    store = base.store()
    store.update("room", {"n": 1})
    store.close()
    store.close()
    for call in (lambda: store.get("room"), store.changes_since, lambda: store.update("room", {})):
        with pytest.raises(ServiceClosedError, match="SqlCloudStore"):
            call()
    engine = sqlite(Path(tempfile.mkdtemp(dir=tmp_path)))  # which is the user's, and stays open
    with SqlCloudStore(engine) as given:
        given.update("room", {"n": 1})
    with engine.connect() as connection:
        assert connection.execute(sa.select(STORES.c.feed_number)).scalar_one() == 1
    engine.dispose()


def test_a_forked_child_does_not_use_its_parents_connections(base: Base) -> None:
    store = base.store()
    store.update("room", {"n": 1})
    pool = store._database.engine.pool
    store._database._pid = -1
    assert present(store.get("room")).version == 1
    assert store._database.engine.pool is not pool
    pool.dispose()


def test_without_sqlalchemy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delitem(sys.modules, "edge_redis.cloudstores.sql")
    with pytest.raises(EdgeRedisError, match=r"edge-redis\[sql\]"):
        __import__("edge_redis.cloudstores.sql")


def test_a_database_that_is_locked(file: Base) -> None:
    store = SqlCloudStore(f"{file.url}?timeout=0.01")
    store.update("room", {"n": 1})
    with file.engine().connect() as other:
        other.execute(sa.text("SELECT 1"))
        other.connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreTimeoutError, match="update: database is locked"):
            store.update("room", {"n": 2})
        assert present(store.get("room")).data == {"n": 1}
    assert store.update("room", {"n": 2}).version == 2
    store.close()


def test_a_file_that_is_replaced_while_it_is_open_is_opened_again(file: Base, tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    store = file.store()
    store.update("room", {"n": 1})
    shutil.copy(path, tmp_path / "backup.db")
    store.update("room", {"n": 2})
    (tmp_path / "backup.db").rename(path)
    assert store.update("other", {"n": 3}).version == 1
    assert present(store.get("room")).data == {"n": 1}
    path.unlink()
    store.update("room", {"n": 4})
    assert store.get("other") is None


def test_files_that_cannot_be_used(file: Base, tmp_path: Path) -> None:
    file.store().update("room", {"n": 1})
    path = tmp_path / "cloud.db"
    with SqlCloudStore(f"sqlite:///file:{path}?mode=ro&uri=true") as store, pytest.raises(StoreReadOnlyError):
        store.update("room", {"n": 2})
    with SqlCloudStore(f"sqlite:///{tmp_path}/none/cloud.db") as store, pytest.raises(StoreUnavailableError):
        store.get("room")
    (tmp_path / "damaged.db").write_bytes(b"no database at all" * 1000)
    with SqlCloudStore(f"sqlite:///{tmp_path}/damaged.db") as store, pytest.raises(CorruptDataError):
        store.get("room")


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ("-c default_transaction_read_only=on", StoreReadOnlyError),
        ("-c statement_timeout=200", StoreTimeoutError),
        ("-c role=guest", StoreRefusedError),
        ("-c search_path=nowhere", StoreReplyError),
    ],
)
def test_a_server_that_refuses(server: Any, settings: Any, error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(connection: sa.Connection) -> Any:
        return connection.execute(sa.text("SELECT pg_sleep(10)"))

    server.store().update("room", {"n": 1})
    with server.engine(isolation_level="AUTOCOMMIT").connect() as connection:
        if not connection.execute(sa.text("SELECT 1 FROM pg_roles WHERE rolname = 'guest'")).all():
            connection.execute(sa.text("CREATE ROLE guest"))
    url = sa.make_url(server.url).update_query_dict({"options": settings})
    with SqlCloudStore(url, namespace=server.namespace) as store:
        if "timeout" in settings:
            monkeypatch.setattr(store._database, "now", sleep)
        with pytest.raises(error, match="update: "):
            store.update("room", {"n": 2})
    assert server.store().get("room").version == 1


def test_no_such_server_is_an_outage(tmp_path: Path) -> None:
    with SqlCloudStore(f"postgresql+psycopg://u@/x?host={tmp_path}") as store, pytest.raises(StoreUnavailableError):
        store.get("room")


def test_a_connection_that_ends_in_the_middle(server: Any) -> None:
    """Nothing was done, and the next call has a new one."""
    store = server.store()
    store.update("room", {"n": 1})
    killed: list[int] = []

    def kill(connection: Any, _cursor: Any, statement: Any, *_: Any) -> None:
        if not killed and statement.startswith("UPDATE edge_redis_documents"):
            killed.append(connection.connection.dbapi_connection.info.backend_pid)
            server.execute("SELECT pg_terminate_backend(:pid, 5000)", pid=killed[0])

    sa.event.listen(store._database.engine, "before_cursor_execute", kill)
    with pytest.raises(StoreUnavailableError):
        store.update("room", {"n": 2})
    assert killed
    assert present(store.get("room")).data == {"n": 1}
    assert store.update("room", {"n": 2}).version == 2


def test_a_deadlock_is_tried_again(server: Any) -> None:
    store = server.store()
    store.update("room", {"n": 1})
    left = [2]

    class DeadlockError(Exception):
        sqlstate = "40P01"

    def fail(_connection: Any, _cursor: Any, statement: Any, *_: Any) -> None:
        if statement.startswith("UPDATE edge_redis_documents") and left[0]:
            left[0] -= 1
            raise sa.exc.OperationalError(statement, {}, DeadlockError())

    sa.event.listen(store._database.engine, "before_cursor_execute", fail)
    assert store.update("room", {"b": 2}, is_delta=True).data == {"n": 1, "b": 2}
    assert left == [0]
    left[0] = 99
    with pytest.raises(StoreUnavailableError):
        store.update("room", {"n": 2})
    assert left == [94]


def test_a_worker_waits_for_a_server_that_is_away(
    server: Any, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")
    edge, store = fakeredis.FakeRedis(), server.store()
    sync = EdgeSynchronizer(edge, scope="room", namespace=server.namespace)
    elsewhere = EdgeSynchronizer(edge, scope="elsewhere", namespace=server.namespace)
    sync.update_local({"n": 1})
    with CloudWorker(edge, store, namespace=server.namespace, max_deliveries=2) as worker:
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            eventually(lambda: sync.is_synced)
            away = store.update("elsewhere", {"n": 2})
            postgres.stop()
            state = sync.update_local({"n": 3})
            for _ in range(3):
                with pytest.raises(StoreUnavailableError):
                    store.get("room")
            postgres.start()
            eventually(lambda: sync.is_synced and store.get("room") == state)
            eventually(lambda: elsewhere.get_local_state() == away)
        finally:
            worker.stop()
            thread.join(10)
        assert worker.dead_letters() == []


def public(kind: Any) -> Any:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


def test_it_offers_what_the_cloud_does_in_both_apis() -> None:
    blocking, awaited = public(SqlCloudStore), public(AsyncSqlCloudStore)
    assert set(blocking) == set(awaited)
    of_redis = {"after_fork", "apply_many", "hints"}
    offered = {name for name in vars(Cloud) if not name.startswith("_")} - of_redis
    assert set(blocking) == offered | {"close", "listen"}
    for name in blocking:
        assert inspect.getdoc(blocking[name]) == inspect.getdoc(awaited[name])
        assert inspect.signature(blocking[name]) == inspect.signature(awaited[name])
        assert inspect.iscoroutinefunction(awaited[name]) != (name == "listen")
    for name in offered:
        mine, theirs = inspect.signature(blocking[name]), inspect.signature(getattr(Cloud, name))
        # What was given to a worker unasked comes with hints of Redis alone.
        assert dict(mine.parameters) == {each: p for each, p in theirs.parameters.items() if each != "given"}
    made = [inspect.signature(kind).parameters for kind in (SqlCloudStore, AsyncSqlCloudStore)]
    assert made[0] == made[1]


def test_awaited_it_serves_an_awaited_worker(base: Base) -> None:
    async def main() -> None:
        edge = fakeredis.FakeAsyncRedis()
        async with (
            AsyncSqlCloudStore(base.url, namespace=base.namespace) as cloud,
            aio.CloudWorker(edge, cloud, namespace=base.namespace) as worker,
            aio.EdgeSynchronizer(edge, scope="room", namespace=base.namespace) as sync,
        ):
            state = await sync.update_local({"a": 1})
            assert await worker.run_once() == 1
            assert await cloud.get("room") == state
            await asyncio.gather(*(cloud.update("room", {f"{n}": n}, is_delta=True) for n in range(3)))
            assert await worker.run_once() == 1
            assert await sync.get_local_state() == await cloud.get("room")
            assert (await cloud.delete_fields("room", "a")).version == 5
            assert [event.version for event in await cloud.sync_history("room")] == [1]
            assert await cloud.conflicts("room") == []
            assert await cloud.release_authority("room") is False
            assert await cloud.delete("room") is True
        with pytest.raises(ServiceClosedError):
            await cloud.get("room")
        await edge.aclose()

    asyncio.run(main())
