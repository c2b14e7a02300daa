"""The users that ``edge-redis acl`` makes: each can do its role's work on a real server, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families as parse
from starlette.testclient import TestClient

import edge_redis.aio
from edge_redis import (
    CloudWorker,
    ConflictStrategy,
    EdgeCache,
    EdgeNode,
    EdgeRedis,
    EdgeSynchronizer,
    HealthMonitor,
    HealthWatch,
    RedisCloudStore,
    TransitionRelay,
    embedded,
)
from edge_redis._io.doctor import examine_role
from edge_redis._io.roles import PROBE, ROLES, find_role
from edge_redis.cli.main import main
from edge_redis.dashboard import dashboard
from edge_redis.errors import InvalidArgumentError, InvalidKeyError, StoreRefusedError
from support.deadline import eventually
from support.servers import Backend

ROOT = Path(__file__).parents[2]
NAMESPACE = "store-42"
NAMES = [role.name for role in ROLES]
PASSWORDS = {name: f"{name}-secret" for name in NAMES}


class Users:
    """The roles' users on one server, which is the edge's and the cloud's at once."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self._backend = backend
        self._stack = ExitStack()
        for name, password in PASSWORDS.items():
            (folder / name).write_text(f"{password}\n")
        file = folder / "users.acl"
        words = ["--server", "both", "--namespace", NAMESPACE, "--passwords", str(folder), "--output", str(file)]
        assert main(["acl", *words]) == 0
        self.lines = file.read_text().splitlines()
        with backend.client() as admin:
            for line in self.lines:
                _, user, *rules = line.split()
                if user != "default":  # by which the tests themselves connect
                    admin.execute_command("ACL", "SETUSER", user, "reset", *rules)

    def url(self, name: str) -> str:
        assert self._backend.url is not None
        return self._backend.url.replace("redis://", f"redis://{name}:{PASSWORDS[name]}@")

    def client(self, name: str) -> redis.Redis:
        client: redis.Redis = self._stack.enter_context(edge_redis.connect(self.url(name)))
        return client

    def services(self, name: str) -> EdgeRedis:
        return self._stack.enter_context(EdgeRedis(self.client(name), namespace=NAMESPACE))

    def close(self) -> None:
        self._stack.close()
        with self._backend.client() as admin:
            admin.execute_command("ACL", "DELUSER", *NAMES, PROBE)


@pytest.fixture
def users(real: Backend, tmp_path: Path) -> Iterator[Users]:
    made = Users(real, tmp_path)
    yield made
    made.close()


@pytest.fixture
def site(users: Users) -> EdgeRedis:
    """The services of an edge process, which has used each of them."""
    edge = users.services("edge")
    edge.health.register(EdgeNode("till-1", "Till 1"))
    edge.health.heartbeat("till-1")
    with edge.metrics.track("pay", "till-1"):
        edge.cache.put("k", 1, tags=("t",))
    edge.metrics.flush()
    edge.synchronizer("prices").update_local({"tea": 3})
    return edge


def test_an_edge_process_uses_every_service_and_a_near_cache(users: Users, site: EdgeRedis) -> None:
    with EdgeCache(users.client("edge"), namespace=NAMESPACE, near_cache=True) as near:
        assert near.get_or_compute("other", lambda: 2) == 2
        assert near.get("k") == 1
        eventually(lambda: near.stats()["near_listening"])
        assert near.invalidate_tag("t") == 1
    assert site.health.check_cluster()["healthy_nodes"] == 1
    assert site.metrics.summary()["total"] == 1
    assert [scope["scope"] for scope in site.scopes()] == ["prices"]
    assert site.cache.stats()["size"] == 1


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_a_worker_carries_changes_both_ways(users: Users, strategy: ConflictStrategy) -> None:
    edge = EdgeSynchronizer(users.client("edge"), strategy, scope="s", namespace=NAMESPACE)
    edge.update_local({"a": 1, "b": 2})
    edge.delete_fields("a")
    with (
        RedisCloudStore(users.client("cloud-worker"), namespace=NAMESPACE) as cloud,
        CloudWorker(users.client("worker"), cloud, namespace=NAMESPACE) as worker,
    ):
        while worker.run_once():
            pass
        assert (worker.status()["dead_letters"], worker.dead_letters()) == (0, [])
        cloud.update("s", {"c": 3}, is_delta=True)
        while worker.run_once():
            pass
    assert edge.is_synced or strategy is ConflictStrategy.LOCAL_WINS


def test_a_consumer_reads_accepted_changes_and_nothing_else(users: Users) -> None:
    with RedisCloudStore(users.client("cloud-worker"), namespace=NAMESPACE) as cloud:
        cloud.keep_accepted(100)
        cloud.update("s", {"a": 1})
    with RedisCloudStore(users.client("consumer"), namespace=NAMESPACE) as reader:
        (change,) = reader.read_accepted("analytics", "one")
        assert change.data == {"a": 1}
        assert reader.ack_accepted("analytics", [change.id]) == 1
        status = reader.accepted_status()
        assert status is not None
        assert status["groups"][0]["lag"] == 0
        for act in (lambda: reader.get("s"), lambda: reader.update("s", {"a": 2}), reader.changes_since):
            with pytest.raises(StoreRefusedError):
                act()


def test_a_monitor_leads_checks_and_delivers(users: Users, site: EdgeRedis) -> None:
    received: list[str] = []
    client = users.client("monitor")
    with (
        TransitionRelay(client, lambda change: received.append(change.state), namespace=NAMESPACE) as relay,
        HealthWatch(client, 60, namespace=NAMESPACE, retention_seconds=3600.0) as watch,
    ):
        relay.run_once()
        assert watch.run_once().leader
        site.health.heartbeat("till-1", "offline")  # type: ignore[arg-type]
        watch.run_once()
        relay.run_once()
    assert received == ["unhealthy"]


def test_a_dashboard_without_operators_shows_every_view(users: Users, site: EdgeRedis) -> None:
    assert site.namespace == NAMESPACE
    services = edge_redis.aio.EdgeRedis.from_url(users.url("dashboard"), namespace=NAMESPACE)
    with TestClient(dashboard(services), base_url="http://localhost") as page:
        for view in ("", "nodes", "node?id=till-1", "functions", "function?name=pay", "cache?key=k", "sync", "events"):
            answer = page.get(f"/s/{NAMESPACE}/{view}")
            assert answer.status_code == 200, view
            assert "refuse" not in answer.text, view
        assert "tea" in page.get(f"/s/{NAMESPACE}/scope?name=prices").text
        assert page.portal is not None
        page.portal.call(services.close)


@pytest.mark.parametrize("words", ["status", "nodes", "node till-1", "events", "sync status", "metrics summary"])
def test_the_dashboard_s_user_reads_at_the_command_line(users: Users, site: EdgeRedis, words: str) -> None:
    assert site.namespace == NAMESPACE
    assert main([*words.split(), "--url", users.url("dashboard"), "--namespace", NAMESPACE]) == 0


def test_an_exporter_exports_everything(users: Users, site: EdgeRedis, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.namespace == NAMESPACE
    assert main(["metrics", "show", "--url", users.url("exporter"), "--namespace", NAMESPACE]) == 0
    found = {family.name for family in parse(capsys.readouterr().out) if family.samples}
    assert {"edge_node_up", "edge_cache_size", "edge_invocations", "edge_sync_lag_seconds", "edge_watch_led"} <= found
    assert "edge_source_failed" not in found


def test_an_operator_acts_and_drops_the_namespace(users: Users, site: EdgeRedis) -> None:
    edge = users.services("operator")
    edge.health.set_maintenance("till-1", reason="disk")
    edge.cache.put("more", 1)
    edge.synchronizer("prices").update_local({"tea": 4})
    edge.health.deregister("till-1")
    assert site.cache.get("more") == 1
    assert edge.drop_namespace() > 0
    assert edge.scopes() == []


def _update_cloud(client: redis.Redis, namespace: str) -> object:
    return RedisCloudStore(client, namespace=namespace).update("s", {"a": 1})


ACTIONS: dict[str, Callable[[redis.Redis, str], object]] = {
    "cache": lambda client, namespace: EdgeCache(client, namespace=namespace, flush_interval=3600).put("k", 2),
    "health": lambda client, namespace: HealthMonitor(client, namespace=namespace).register(EdgeNode("n", "n")),
    "sync": lambda client, namespace: EdgeSynchronizer(client, namespace=namespace).update_local({"a": 1}),
    "cloud": _update_cloud,
}
REFUSED = [(role.name, component) for role in ROLES for component in ACTIONS if component not in role.writes]


@pytest.mark.parametrize(("name", "component"), REFUSED)
def test_a_role_cannot_write_what_is_not_its_own(users: Users, name: str, component: str) -> None:
    with pytest.raises(StoreRefusedError):
        ACTIONS[component](users.client(name), NAMESPACE)


@pytest.mark.parametrize("name", NAMES)
def test_no_role_reaches_another_namespace(users: Users, name: str) -> None:
    for act in ACTIONS.values():
        with pytest.raises(StoreRefusedError):
            act(users.client(name), "store-43")
    with pytest.raises(StoreRefusedError):
        EdgeCache(users.client(name), namespace="store-43", flush_interval=3600).get("k")


DANGEROUS = ("FLUSHALL", "CONFIG SET save 1", "ACL LIST", "KEYS *", "CLIENT LIST", "CLIENT KILL ID 1", "SHUTDOWN")


@pytest.mark.parametrize("name", [*NAMES, PROBE])
def test_no_role_runs_dangerous_commands(real: Backend, users: Users, name: str) -> None:
    assert users.lines
    with real.client(username=name, password=PASSWORDS.get(name, "any")) as client:
        for command in DANGEROUS:
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())


def test_health_checks_may_ping_with_any_password(real: Backend, users: Users) -> None:
    assert users.lines
    with real.client(username=PROBE, password="any") as client:
        assert client.execute_command("PING")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command("GET", "er:{store-42:cache0}:v:k")


@pytest.mark.parametrize("name", NAMES)
def test_doctor_finds_that_each_user_has_the_rights_of_its_role(users: Users, name: str) -> None:
    found = {finding.topic: finding for finding in examine_role(users.client(name), find_role(name), NAMESPACE)}
    assert found["permissions"].level == "ok", found["permissions"].text
    assert "least privilege" not in found, found["least privilege"].text
    if name == "consumer":  # may not write a key to try
        assert "scripts" not in found
    else:
        assert found["scripts"].level == "ok"


def test_doctor_finds_rights_that_are_missing_and_rights_that_are_too_many(
    users: Users, real: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["doctor", "--namespace", NAMESPACE]
    assert main([*words, "--role", "edge", "--url", users.url("monitor")]) == 1
    text = capsys.readouterr().out
    assert "fail  permissions" in text
    assert "HSET on sync" in text
    assert main([*words, "--role", "exporter", "--url", str(real.url)]) == 0
    assert "may also write cache" in capsys.readouterr().out


def test_a_server_starts_with_the_file(users: Users, tmp_path: Path) -> None:
    assert hashlib.sha256(b"worker-secret").hexdigest() in "\n".join(users.lines)
    with embedded.start(password="", config={"aclfile": str(tmp_path / "users.acl")}) as server:
        with server.client(username="worker", password="worker-secret") as client:
            assert client.ping()
        with pytest.raises(redis.exceptions.AuthenticationError), server.client() as client:
            client.execute_command("GET", "k")


def test_roles_and_namespaces_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="worker"):
        find_role("nobody")
    with pytest.raises(InvalidKeyError, match="white space"):
        ROLES[0].rules("a b")
    assert main(["acl", "--namespace", "a b"]) == 2
    assert main(["acl", "--passwords", str(tmp_path / "missing")]) == 2
    (tmp_path / "edge").write_text("\n")
    assert main(["acl", "--passwords", str(tmp_path)]) == 2


@pytest.mark.parametrize("server", ["edge", "cloud"])
def test_the_examples_of_the_documents_are_what_the_command_writes(server: str, tmp_path: Path) -> None:
    file = tmp_path / "users.acl"
    assert main(["acl", "--namespace", "site", "--server", server, "--output", str(file)]) == 0
    assert (ROOT / "docs" / "deploy" / "acl" / f"{server}.acl").read_text() == file.read_text()


def test_a_namespace_is_no_pattern() -> None:
    assert r"~er:{a\*\[b\]:cache[0-9]*" in ROLES[0].rules("a*[b]")
