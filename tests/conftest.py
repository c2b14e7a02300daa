"""Fixtures of the whole suite: which server, which API, and services made for both."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis.utils

import edge_redis
import edge_redis.aio
from edge_redis._core.script import Script
from edge_redis._io import shutdown
from edge_redis._services import components
from edge_redis.cloudstores import sql
from support.clock import stop_the_clock
from support.clouds import SQL_CLOUD, Base, one_of
from support.cluster import Cluster, collect_dropped
from support.fake_lua import install
from support.not_on import why_not
from support.portal import Portal
from support.postgres import Postgres
from support.reply_shapes import build_checked
from support.servers import (
    NAMES,
    ROLE_OF,
    Backend,
    Servers,
    any_real_server,
    describe_server,
    only_server,
    real_servers,
)
from support.site import START, Site

APIS = ("blocking", "awaited")
ROOT = Path(__file__).parents[1]

# The processes that tests start read compiled modules, also where the environment has none written beside the sources.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / "build" / "pycache"))
sys.dont_write_bytecode = False

install()
# redis-py parses the metadata of its package for each client and each connection, to tell the server its version.
_redis_utils: Any = redis.utils
_redis_utils.get_lib_version = functools.cache(redis.utils.get_lib_version)

hypothesis.settings.register_profile("default", deadline=None, print_blob=True, derandomize=False)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Where nothing may be skipped, a skip is a failure that says why."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("EDGE_REDIS_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where every test must run: {report.longrepr}"
    return report


def pytest_configure() -> None:
    """Refuse a choice of servers that is misspelt, before any test."""
    real_servers()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where one server is asked for, keep the tests that run on it."""
    only = only_server()
    if only is None:
        return
    kept = [item for item in items if _uses(item, only)]
    for item in kept:
        if reason := why_not(only, item.nodeid):
            item.add_marker(pytest.mark.skip(reason=reason))
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def _uses(item: pytest.Item, server: str) -> bool:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    if server == "fakeredis":
        return params.get("backend") == server
    return server in (params.get("backend"), params.get("real")) or "valkey" in getattr(item, "fixturenames", ())


def pytest_collection_finish() -> None:
    """Exempt all modules and tests from garbage collection, which is made after most tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    running = Servers()
    yield running
    running.stop()


@pytest.fixture
def cluster(servers: Servers) -> Cluster:
    """Return an empty cluster of three masters, which the tests of a process share."""
    return servers.cluster()


@pytest.fixture
def swept(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect what the library dropped here, where that is expected, and not in the midst of a later test."""
    yield
    collect_dropped(request.node.name)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Leave the ``except`` block that a trace function has kept this thread in.

    CPython 3.11 does not leave it where a trace function raises between the bytecodes that end the block, as the
    tests do that interrupt calls everywhere. Later errors would have a context then. Signal handlers do not run there.
    """
    ctypes.pythonapi.PyErr_SetExcInfo(None, None, None)


if only_server() == "cluster":  # tests state what holds in one shard; ``tests/cluster`` has services of several
    setattr(components, "CLUSTER_SHARDS", 1)  # noqa: B010 -- a constant elsewhere


@pytest.fixture(autouse=True, scope="session")
def name_server(servers: Servers, record_testsuite_property: Callable[[str, object], None]) -> None:
    """Write the release of the one server that is asked for into the report of a run."""
    if only_server() not in (None, "fakeredis"):
        with servers.backend(any_real_server()).client() as client:
            record_testsuite_property("server", describe_server(client))


@pytest.fixture(autouse=True)
def end_services(servers: Servers) -> Iterator[None]:
    """End what a test leaves: threads and buffers of services that it did not close, and connections."""
    before = set(shutdown._running)
    loops = _running_loops()
    yield
    for engine in set(shutdown._running) - before:
        engine.stop()
        engine.component.after_fork()  # drops what it buffered, which a later service of its namespace would send
    if servers.disconnect_clients():
        with warnings.catch_warnings():
            if only_server() == "cluster":  # redis-py's clients drop nodes with their connections open
                warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()  # so that an unclosed connection is a failure of the test that left it
        gc.freeze()  # what is left is the suite's own, and need not be gone through after each test
    left = _running_loops() - loops
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left), "the test has left a service that works in the background"


def _running_loops() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "edge-redis-loop"}


def _is_chosen(metafunc: pytest.Metafunc, name: str) -> bool:
    """Whether a test says itself what a name is: by a mark, or by a fixture of its module."""
    marks = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    marked = {each.strip() for names in marks for each in (names.split(",") if isinstance(names, str) else names)}
    return name in marked or len(metafunc._arg2fixturedefs[name]) > 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on every server and in every API it asks for.

    Where both real servers are chosen, the asyncio API on Redis is an exploration: on Valkey it always runs, as does
    the blocking API on Redis. A test that has to do with the cloud runs also with an SQL database as its cloud; there
    in the blocking API alone, of which the awaited store is made.
    """
    asked = [name for name in ("make", "backend") if name in metafunc.fixturenames and not _is_chosen(metafunc, name)]
    only = only_server()
    choices = {"make": APIS, "backend": (only,) if only else NAMES}
    combinations = list(product(*(choices[name] for name in asked)))
    if "backend" in asked and only is None and not {"cloud", "worker", "ends"}.isdisjoint(metafunc.fixturenames):
        combinations.append(tuple({"make": "blocking", "backend": SQL_CLOUD}[name] for name in asked))
    if asked:
        rare = ("awaited", "redis") if len(real_servers()) > 1 else None
        params = [pytest.param(*each, marks=[pytest.mark.exploration] if each == rare else ()) for each in combinations]
        metafunc.parametrize(asked, params, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Backend]:
    """Every server of the table, empty."""
    yield from one_of(request.param, servers, lambda: request.getfixturevalue("tmp_path"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL, whose tables are whose they are: a test takes a namespace of its own."""
    running = Postgres()
    yield running
    running.remove()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Base]:
    """A cloud in SQLite, in a file of its own."""
    made = Base(f"sqlite:///{tmp_path}/cloud.db")
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Base]:
    """A cloud in each kind of SQL database."""
    url = f"sqlite:///{tmp_path}/cloud.db" if request.param == "sqlite" else request.getfixturevalue("postgres").url
    made = Base(url)
    yield made
    made.close()


@pytest.fixture(params=[only_server()] if only_server() else ["valkey", "redis"])
def real(request: pytest.FixtureRequest, servers: Servers) -> Backend:
    """The real servers alone, empty."""
    return servers.backend(request.param)


@pytest.fixture
def valkey(servers: Servers) -> Backend:
    """One real server, empty: Valkey, or Redis where it alone is chosen."""
    return servers.backend(any_real_server())


@pytest.fixture
def client(backend: Backend) -> Iterator[Any]:
    """A blocking client of every server."""
    with backend.client() as made:
        yield made


@pytest.fixture(autouse=True)
def check_reply_shapes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a contract test in which a script replies with another shape than its header states."""
    if request.path.parent.name == "contract":
        monkeypatch.setattr(Script, "__call__", build_checked)


class Maker:
    """Makes services of one API on one server, and closes what it made."""

    def __init__(self, backend: Backend, api: str) -> None:
        self.backend = backend
        self.api = api
        self._portal = Portal() if api == "awaited" else None
        self._open_database: list[Any] = []
        self._clients: list[Any] = []

    def client(self, **kwargs: Any) -> Any:
        """Return a client of this API (an asyncio one where it is awaited)."""
        made = self.backend.async_client(**kwargs) if self._portal else self.backend.client(**kwargs)
        self._clients.append(made)
        return made

    def __call__(self, name: str, *args: Any, client: Any = None, **kwargs: Any) -> Any:
        """Return the service ``name`` on a new client, or the one given; awaited ones behave as blocking."""
        if client is None:
            client = self.client(**self.backend.as_user(ROLE_OF.get(name, "edge")))
        if self._portal:
            made = self._portal.make(getattr(edge_redis.aio, name), client, *args, **kwargs)
        else:
            made = getattr(edge_redis, name)(client, *args, **kwargs)
        self._open_database.append(made)
        return made

    def store(self, **kwargs: Any) -> Any:
        """Return the store of the backend's cloud."""
        if self.backend.sql is None:
            return self("RedisCloudStore", **kwargs)
        if self._portal:
            made = self._portal.make(sql.AsyncSqlCloudStore, self.backend.sql, **kwargs)
        else:
            made = sql.SqlCloudStore(self.backend.sql, **kwargs)
        self._open_database.append(made)
        return made

    def cloud(self, **kwargs: Any) -> Any:
        """Return what a CloudWorker is given to reach the cloud: a client, or the store of one that has none."""
        if self.backend.sql is None:
            return self.client(**self.backend.as_user("cloud-worker"))
        made = self.store(**kwargs)
        return made._target if self._portal else made

    def close(self) -> None:
        for service in self._open_database:
            service.close()
        for client in self._clients:
            self._portal.run(client.aclose()) if self._portal else client.close()
        if self._portal:
            self._portal.close()


@pytest.fixture
def make(request: pytest.FixtureRequest, backend: Backend) -> Iterator[Maker]:
    """Make services on every server and in both APIs: ``make("EdgeCache", max_size=3)``."""
    maker = Maker(backend, request.param)
    yield maker
    maker.close()


@pytest.fixture(params=APIS)
def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A watched site whose server's clock the test moves, in both APIs."""
    clock = stop_the_clock(monkeypatch, START.timestamp())
    maker = Maker(Backend("fakeredis"), request.param)
    yield Site(maker, clock)
    maker.close()


@pytest.fixture
def cloud(make: Maker) -> Any:
    """The cloud's side of state sync, on the edge's own server."""
    return make.store()


@pytest.fixture
def worker(make: Maker) -> Any:
    """A worker between the edge and ``cloud``."""
    return make("CloudWorker", make.cloud())
