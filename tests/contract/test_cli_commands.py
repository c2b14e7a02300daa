"""The commands as a user runs them, on a real server: exit codes, and JSON for scripts.

Most run in this process; the executable is started once for each exit code and signal.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_redis import (
    EdgeCache,
    EdgeMetrics,
    EdgeNode,
    EdgeNodeStatus,
    EdgeRedis,
    EdgeSynchronizer,
    HealthMonitor,
    InvocationRecord,
    RedisCloudStore,
    TransitionRelay,
    embedded,
)
from edge_redis._core.keys import KeySpace
from edge_redis._core.shards import name_shards
from edge_redis.cli.main import main
from edge_redis.cloudstores.sql import SqlCloudStore
from support.checked import present
from support.deadline import eventually
from support.servers import Backend
from support.shell import Shell

COMMANDS = {
    "up": "",
    "worker": "--once",
    "agent": "--node n",
    "monitor": "",
    "status": "",
    "nodes": "",
    "node": "n",
    "maintenance": "n",
    "events": "",
    "dashboard": "--port 0",
    "doctor": "",
    "bench": "",
    "top": "",
    "cache stats": "",
    "cache get": "k",
    "cache put": "k 1",
    "cache delete": "k",
    "cache keys": "",
    "cache purge": "",
    "cache clear": "--yes",
    "cache invalidate-tag": "t",
    "metrics summary": "",
    "metrics top": "",
    "metrics timeline": "",
    "metrics errors": "",
    "metrics slo": "",
    "metrics show": "",
    "sync status": "",
    "sync scopes": "",
    "sync get": "s",
    "sync diff": "s",
    "sync pending": "s",
    "sync history": "s",
    "sync conflicts": "s",
    "sync resolve": "s 1-0",
    "sync dead-letters": "",
    "sync replay": "",
    "sync purge-tombstones": "",
    "sync discard": "1-0",
    "sync new-identity": "",
    "sync release-authority": "s",
    "namespace list": "",
    "namespace drop": "ns --yes",
    "shards": "--to 2",
}
"""Every command that talks to a server, with arguments that are enough for it."""
LOCAL_COMMANDS = ("metrics serve", "dashboard", "acl", "completion")


@pytest.fixture
def shell(valkey: Backend, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(present(valkey.url), tmp_path, capfd)


@pytest.fixture
def client(valkey: Backend) -> Iterator[Any]:
    with valkey.client() as made:
        yield made


def test_every_command_has_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (*COMMANDS, *LOCAL_COMMANDS):
        assert main([*command.split(), "--help"]) == 0, command
        out = capsys.readouterr().out
        assert f"edge-redis {command}" in " ".join(out.split()), command


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_without_its_server_is_one_line_and_exit_code_3(shell: Shell, command: str) -> None:
    words = [*command.split(), *COMMANDS[command].split()]
    code, out, err = shell.run(*words, "--url", "redis://127.0.0.1:1")
    assert code == 3
    if command == "metrics show":
        assert "edge_redis_up 0.0" in out, "a scrape says it in its own words"
    else:
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("edge-redis: cannot reach 127.0.0.1:1: Connection refused")


@pytest.mark.parametrize("command", [*COMMANDS, *LOCAL_COMMANDS])
def test_a_command_with_an_unknown_option_is_one_line_and_exit_code_2(shell: Shell, command: str) -> None:
    code, out, err = shell.run(*command.split(), "--zzzzz")
    assert (code, out) == (2, "")
    assert err == f"edge-redis: No such option: --zzzzz. See 'edge-redis {command} --help'.\n"


def test_status_is_a_finding_when_a_node_is_unhealthy(shell: Shell, client: Any) -> None:
    health = HealthMonitor(client, namespace="shop")
    health.register(EdgeNode("till-1", "Till 1", "front"))
    code, found = shell.json("status")
    assert code == 0
    assert [(node["id"], node["verdict"], node["location"]) for node in found["nodes"]] == [
        ("till-1", "healthy", "front")
    ]
    assert {"namespace", "nodes", "health", "metrics", "cache", "sync"} == found.keys()
    health.register(EdgeNode("till-2", "Till 2", status=EdgeNodeStatus.OFFLINE))
    code, found = shell.json("status")
    assert code == 1
    code, out, _ = shell.run("status")
    assert code == 1
    assert "namespace shop: 2 nodes, 1 unhealthy" in out


def test_a_node_is_unhealthy_past_the_timeout_given_and_by_its_latest_check(shell: Shell, client: Any) -> None:
    HealthMonitor(client, namespace="shop").register(EdgeNode("till-1", "Till 1"))
    time.sleep(0.3)  # the age itself is tried
    assert shell.run("nodes")[0] == 0
    code, found = shell.json("nodes", "--heartbeat-timeout", "0.2")
    assert code == 1
    assert found["nodes"][0]["verdict"] == "unhealthy"
    assert found["nodes"][0]["heartbeat_age_seconds"] > 0.2
    HealthMonitor(client, 0.2, namespace="shop").check_node("till-1")
    assert shell.json("nodes")[1]["nodes"][0]["verdict"] == "unhealthy"


def test_a_node_in_detail(shell: Shell, client: Any) -> None:
    health = HealthMonitor(client, namespace="shop")
    health.register(EdgeNode("till-1", "Till 1", "front"))
    health.check_node("till-1")
    code, found = shell.json("node", "till-1")
    assert code == 0
    assert [check["healthy"] for check in found["checks"]] == [True]
    assert found["recommendation"] == "Normal"
    assert found["availability"].keys() == {"24h", "30d"}
    code, out, _ = shell.run("node", "till-1")
    assert code == 0
    assert "till-1 (Till 1, front): healthy" in out
    assert "checks, oldest first: ■" in out
    code, _, err = shell.run("node", "till-9")
    assert code == 1
    assert "no node 'till-9' is registered" in err


def test_maintenance_begins_and_ends(shell: Shell, client: Any) -> None:
    HealthMonitor(client, namespace="shop").register(EdgeNode("till-1", "Till 1"))
    code, out, _ = shell.run("maintenance", "till-1", "--for", "2h", "--reason", "new printer")
    assert (code, out) == (0, "till-1: in maintenance for 2 h\n")
    code, found = shell.json("nodes")
    assert (code, found["nodes"][0]["verdict"]) == (0, "maintenance")
    code, events, _ = shell.run("events", "--json")
    assert code == 0
    assert [json.loads(line)["state"] for line in events.splitlines()][-1] == "maintenance"
    assert shell.run("maintenance", "till-1", "--end")[:2] == (0, "till-1: maintenance ended\n")
    assert shell.run("maintenance", "till-1", "--end")[0] == 1
    assert shell.run("maintenance", "nobody")[0] == 2


def test_the_cache_is_read_and_changed(shell: Shell, client: Any) -> None:
    assert shell.run("cache", "get", "price") == (1, "", "")
    assert shell.run("cache", "put", "price", '{"eur": 2.5}', "--ttl", "1h", "--tag", "prices")[0] == 0
    assert shell.run("cache", "put", "name", "Ünal", "--text")[0] == 0
    assert EdgeCache(client, namespace="shop").get("price") == {"eur": 2.5}
    assert shell.run("cache", "get", "price")[:2] == (0, '{"eur": 2.5}\n')
    code, entry = shell.json("cache", "get", "price")
    assert (code, entry["ttl_seconds"]) == (0, 3600.0)
    assert sorted(shell.json("cache", "keys")[1]) == ["name", "price"]
    assert shell.json("cache", "keys", "--prefix", "pr")[1] == ["price"]
    assert shell.json("cache", "stats")[1]["size"] == 2


def test_cache_entries_are_removed(shell: Shell, client: Any) -> None:
    cache = EdgeCache(client, namespace="shop")
    cache.put("price", 1, tags=("prices",))
    cache.put("name", "x")
    assert shell.json("cache", "invalidate-tag", "prices") == (0, {"removed": 1})
    assert shell.json("cache", "delete", "name") == (0, {"removed": 1})
    assert shell.json("cache", "delete", "name") == (1, {"removed": 0})
    assert shell.json("cache", "purge") == (0, {"removed": 0})
    cache.put("k", 1)
    assert shell.run("cache", "clear")[0] == 130, "nobody confirmed it"
    assert shell.json("cache", "clear", "--yes") == (0, {"removed": 1})


def test_metrics_are_summed_up_and_ranked(shell: Shell, client: Any) -> None:
    with EdgeMetrics(client, namespace="shop") as metrics:
        metrics.record_many(
            [InvocationRecord("resize", "till-1", 10.0, success=True)] * 9
            + [InvocationRecord("resize", "till-1", 20.0, success=False, error="disk full")]
        )
    code, found = shell.json("metrics", "summary")
    assert (code, found["total"], found["error_count"]) == (0, 10, 1)
    assert shell.json("metrics", "summary", "--function", "none")[1]["total"] == 0
    assert [row["function_id"] for row in shell.json("metrics", "top")[1]] == ["resize"]
    assert shell.json("metrics", "timeline", "--minutes", "3")[1][-1]["total"] in (0, 10)
    assert [row["error"] for row in shell.json("metrics", "errors")[1]] == ["disk full"]
    code, found = shell.json("metrics", "slo", "--objective", "99")
    assert (code, found["good_percent"]) == (1, 90.0)
    assert shell.run("metrics", "slo", "--objective", "80")[0] == 0
    assert "resize" in shell.run("metrics", "top")[1]
    assert shell.run("metrics", "top", "--by", "beauty")[0] == 2


def test_the_metrics_shown_say_whether_the_site_s_work_is_done(shell: Shell, client: Any) -> None:
    with EdgeRedis(client, namespace="shop") as edge:
        edge.synchronizer("till-1").update_local({"n": 1})
        with edge.watch() as watch, TransitionRelay(client, print, namespace="shop", name="mail") as relay:
            watch.run_once()
            relay.run_once()
            code, text, _ = shell.run("metrics", "show")
    assert code == 0
    for line in (
        'edge_sync_pending_changes{namespace="shop",scope="till-1"} 1.0',
        'edge_sync_changes_waiting{namespace="shop"} 1.0',
        'edge_sync_dead_letters{namespace="shop"} 0.0',
        'edge_watch_led{namespace="shop"} 1.0',
        'edge_relay_dropped_total{namespace="shop",relay="mail"} 0.0',
    ):
        assert line in text
    assert 'edge_sync_lag_seconds{namespace="shop"}' in text


def test_doctor_examines_a_namespace(shell: Shell, client: Any) -> None:
    def found() -> tuple[int, dict[str, tuple[str, str]]]:
        code, findings = shell.json("doctor")
        return code, {each["topic"]: (each["level"], each["text"]) for each in findings}

    code, topics = found()
    assert (code, topics["layout"]) == (0, ("ok", "nothing was written yet"))
    with EdgeRedis(client, namespace="shop") as edge:
        edge.health.register(EdgeNode("till-1", "Till 1"))
        assert found()[1]["monitor"][0] == "warn", "a node is registered and nothing watches it"
        edge.synchronizer("till-1").update_local({"n": 1})
        with TransitionRelay(client, print, namespace="shop", name="mail") as relay, edge.watch() as watch:
            watch.run_once()
            relay.run_once()
            code, topics = found()
    assert code == 0
    assert (topics["monitor"][0], topics["relay"], topics["worker"]) == (
        "ok",
        ("ok", "mail: 0 delivered"),
        ("ok", "changes pending: 1"),
    )
    client.zadd("er:{shop:sync0}:work", {"till-1": 1.0})  # since 1970
    client.hset("er:{shop:health0}:relay:mail", mapping={"attempts": 5, "last_error": "timed out"})
    topics = found()[1]
    assert "does a worker run" in topics["worker"][1]
    assert topics["relay"] == ("warn", "mail: 5 failed attempts at one transition: timed out")
    client.set("er:{shop:cache0}:layout", "99")
    client.xadd("er:{shop:sync0}:dead", {"scope": "x"})
    code, topics = found()
    assert (code, topics["layout"][0], topics["dead letters"][0]) == (1, "fail", "fail")
    assert "cache has 99" in topics["layout"][1]


def test_doctor_reads_the_layout_of_every_shard(shell: Shell, client: Any) -> None:
    def layout() -> tuple[str, str]:
        return next((each["level"], each["text"]) for each in shell.json("doctor")[1] if each["topic"] == "layout")

    with EdgeMetrics(client, namespace="shop", shards=3) as metrics, EdgeCache(client, namespace="shop", shards=2) as c:
        c.put_many({str(number): number for number in range(20)})
        metrics.record_many(InvocationRecord(f"f{number}", "n", 1.0, success=True) for number in range(20))
    assert layout() == ("ok", "in use: cache (2 shards), metrics (3 shards)")
    shard = KeySpace("shop", "metrics", name_shards("shop", "metrics", 3)[1]).tag
    assert client.get(f"{shard}:layout") == b"1"
    client.set(f"{shard}:layout", "99")
    assert layout()[0] == "fail"
    assert layout()[1].startswith("metrics has 99:")


def test_the_number_of_shards_is_changed_and_shown(shell: Shell, client: Any) -> None:
    assert shell.run("shards") == (0, "nothing was written yet\n", "")
    with EdgeMetrics(client, namespace="shop") as metrics, EdgeCache(client, namespace="shop") as cache:
        metrics.record_many(InvocationRecord(f"f{number}", "n", 1.0, success=True) for number in range(40))
        metrics.flush()
        cache.put("k", 1)
        code, out, err = shell.run("shards", "--to", "3", "--component", "metrics", "--json")
        assert (code, err) == (0, "metrics: 3 shards\n")
        [found] = json.loads(out)
        assert {**found, "units": sum(found["units"])} == {
            "component": "metrics",
            "shards": 3,
            "changed_from": None,
            "moved": 0,
            "earlier": [1],
            "units": 40,
            "complete": True,
        }
        assert metrics.total_invocations() == 40
        client.set("er:{shop:metrics0}:earlier", "look")  # as a command leaves it that ends before the last step
        assert shell.run("shards")[0] == 1
        topics = {each["topic"]: (each["level"], each["text"]) for each in shell.json("doctor")[1]}
        assert topics["shards"][0] == "warn"
        assert "edge-redis shards --component metrics --to 3" in topics["shards"][1]
        assert shell.run("shards", "--to", "3", "--component", "metrics")[0] == 0
        assert "shards" not in {each["topic"] for each in shell.json("doctor")[1]}
        code, _, err = shell.run("shards", "--to", "2", "--component", "cache")
        assert (code, cache.size, err.startswith("cache: ")) == (0, 0, True)
    with RedisCloudStore(client, namespace="shop") as cloud:
        cloud.keep_accepted()
        code, _, err = shell.run("shards", "--to", "2", "--component", "cloud")
        assert (code, "keeps accepted changes" in err) == (2, True)
        cloud.drop_accepted()
        assert shell.run("shards", "--to", "2", "--component", "cloud")[0] == 0
        assert cloud.update("scope", {"n": 1}).version == 1


def test_a_worker_carries_changes_until_sigterm(shell: Shell, client: Any) -> None:
    with shell.start("worker") as process:
        try:
            EdgeSynchronizer(client, scope="till-1", namespace="shop").update_local({"n": 1})
            cloud = RedisCloudStore(client, namespace="shop")
            eventually(lambda: cloud.get("till-1") is not None, seconds=30)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_a_worker_waits_for_a_cloud_that_begins_to_refuse_it(shell: Shell, client: Any) -> None:
    def allow(*rules: str) -> None:
        client.execute_command("ACL", "SETUSER", "carrier", "reset", "on", ">word", "~*", "&*", *rules)

    allow("+@all")
    cloud_url = shell.url.replace("://", "://carrier:word@")
    sync = EdgeSynchronizer(client, scope="till-1", namespace="shop")
    cloud = RedisCloudStore(client, namespace="shop")
    sync.update_local({"n": 1})
    with shell.start("worker", "--cloud-url", cloud_url) as process:
        try:
            eventually(lambda: cloud.get("till-1") is not None, seconds=30)
            allow("+@all", "-@scripting")
            sync.update_local({"n": 2})
            assert any("will go on trying" in line for line in present(process.stderr))
            allow("+@all")
            assert any("answers again" in line for line in present(process.stderr))
            eventually(lambda: present(cloud.get("till-1")).data == {"n": 2}, seconds=30)
            assert process.poll() is None
        finally:
            process.kill()
            client.acl_deluser("carrier")


def test_a_worker_with_a_keys_file_carries_signed_changes_alone(shell: Shell, client: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('till-1 = ["hex:' + "ab" * 16 + '", "the key of till-1"]\n')
    keys.chmod(0o600)
    for scope, key in (("signed", b"the key of till-1"), ("unsigned", None)):
        edge = EdgeSynchronizer(client, scope=scope, namespace="shop", origin="till-1", signing_key=key)
        edge.update_local({"n": 1})
    assert shell.run("worker", "--once", "--keys-file", str(keys))[0] == 0
    cloud = RedisCloudStore(client, namespace="shop")
    assert present(cloud.get("signed")).data == {"n": 1}
    code, letters = shell.json("sync", "dead-letters")
    assert (code, [letter["scope"] for letter in letters]) == (1, ["unsigned"])
    assert shell.json("sync", "replay", "--keys-file", str(keys))[1]["replayed"] == 0, "it is still unsigned"
    assert cloud.get("unsigned") is None


@pytest.mark.parametrize(
    "text", ["till-1 = 7\n", "till-1 = []\n", 'till-1 = "hex:zz"\n', "till-1 = the secret\n", None]
)
def test_a_keys_file_that_cannot_be_used_is_refused_without_showing_a_key(
    shell: Shell, tmp_path: Path, text: str | None
) -> None:
    keys = tmp_path / "keys.toml"
    if text is not None:
        keys.write_text(text)
    code, _, err = shell.run("worker", "--once", "--keys-file", str(keys))
    assert code == 2
    assert "keys file" in err
    assert "secret" not in err


def test_a_worker_carries_what_is_pending_into_an_sql_database_and_ends(
    shell: Shell, client: Any, tmp_path: Path
) -> None:
    EdgeSynchronizer(client, scope="till-1", namespace="shop").update_local({"n": 1})
    url = f"sqlite:///{tmp_path}/cloud.db"
    assert shell.run("worker", "--once", "--cloud-sql", url)[0] == 0
    with SqlCloudStore(url, namespace="shop") as cloud:
        state = cloud.get("till-1")
    assert state is not None
    assert state.data == {"n": 1}


def test_an_agent_sends_heartbeats_until_it_is_stopped(shell: Shell, client: Any) -> None:
    health = HealthMonitor(client, namespace="shop")
    with shell.start("agent", "--node", "host-1", "--location", "hall 7", "--interval", "0.1") as process:
        try:
            eventually(lambda: health.get_node("host-1") is not None, seconds=30)

            def has_resources() -> bool:
                node = health.get_node("host-1")
                return node is not None and node.resources.memory_max_mb > 0

            eventually(has_resources, seconds=30)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_an_agent_measures_a_command_and_ends_with_its_exit_code(shell: Shell, client: Any) -> None:
    code, out, _ = shell.run("agent", "--node", "host-1", "--function", "job", "sh", "-c", "echo done; exit 7")
    assert (code, out) == (7, "done\n")
    with EdgeMetrics(client, namespace="shop") as metrics:
        assert metrics.error_count("host-1", "job") == 1
    assert shell.run("agent", "--node", "host-1", "/no/such/file")[0] == 1


def test_namespaces_are_listed_and_dropped(shell: Shell, client: Any) -> None:
    for namespace in ("shop", "shop.2", "other:x"):
        with EdgeRedis(client, namespace=namespace) as edge:
            edge.cache.put("k", 1)
            edge.synchronizer("s").update_local({"n": 1})
    listed = {each["namespace"]: each["keys"] for each in shell.json("namespace", "list")[1]}
    assert listed.keys() == {"shop", "shop.2", "other:x"}
    assert shell.run("namespace", "drop", "shop")[0] == 130, "nobody confirmed it"
    assert shell.json("namespace", "drop", "shop", "--yes") == (0, {"namespace": "shop", "removed": listed["shop"]})
    assert {each["namespace"] for each in shell.json("namespace", "list")[1]} == {"shop.2", "other:x"}
    assert shell.run("namespace", "drop", "shop", "--yes")[0] == 1


def test_a_settings_file_gives_defaults_that_the_environment_and_options_override(
    shell: Shell, client: Any, tmp_path: Path
) -> None:
    for namespace in ("from-file", "from-environment", "from-option"):
        HealthMonitor(client, namespace=namespace).register(EdgeNode(namespace, namespace))
    settings = tmp_path / "config" / "edge-redis" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('namespace = "from-file"\n[metrics.serve]\nport = 9999\n')
    environment = shell.environment
    del environment["EDGE_REDIS_NAMESPACE"]
    assert shell.json("nodes")[1]["namespace"] == "from-file"
    environment["EDGE_REDIS_NAMESPACE"] = "from-environment"
    assert shell.json("nodes")[1]["namespace"] == "from-environment"
    assert shell.json("nodes", "--namespace", "from-option")[1]["namespace"] == "from-option"
    settings.write_text("[monitor]\nnoise = 1\n")
    code, _, err = shell.run("nodes")
    assert code == 2
    assert "monitor has no option 'noise'" in err
    settings.write_text("[polka]\n")
    assert "there is no command 'polka'" in shell.run("nodes")[2]


def test_a_password_comes_from_a_file_or_the_environment_and_is_never_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with embedded.start() as server:
        with server.client() as client:
            client.config_set("requirepass", "s3cret-word")
        port = server.url.rpartition(":")[2]
        shell = Shell(f"redis://127.0.0.1:{port}", tmp_path, capfd)
        code, _, err = shell.run("doctor")
        assert code == 3
        assert err.startswith("edge-redis: the server needs a password: name a file with --password-file")
        (tmp_path / "password").write_text("s3cret-word\n")
        assert shell.run("doctor", "--password-file", str(tmp_path / "password"))[0] == 0
        assert shell.run("doctor", EDGE_REDIS_PASSWORD="s3cret-word")[0] == 0
        code, _, err = shell.run("doctor", EDGE_REDIS_PASSWORD="wrong-word")
        assert code == 3
        assert "refuses the user name or password" in err
        assert "word" not in err.replace("password", "")


def test_tls_to_a_port_without_tls_is_said_at_once(shell: Shell) -> None:
    code, _, err = shell.run("status", "--url", shell.url.replace("redis://", "rediss://"))
    assert code == 3
    assert "does not speak TLS: use redis://" in err


def test_a_database_that_is_not_there_is_one_sentence(shell: Shell) -> None:
    base = shell.url.rpartition("/")[0] if shell.url.count("/") > 2 else shell.url
    code, _, err = shell.run("doctor", "--url", f"{base}/99")
    assert code == 3
    assert "no database of this number" in err


def test_bench_compares_the_services_with_plain_commands_and_leaves_nothing(shell: Shell, client: Any) -> None:
    client.set("others", "stay")
    code, rows = shell.json("bench", "--seconds", "0.01")
    assert code == 0
    assert {"cache get", "cache put", "heartbeat", "record a call", "update a scope"} <= {
        row["operation"] for row in rows
    }
    for row in rows:
        assert row["ratio"] == pytest.approx(row["service_us"] / row["command_us"], rel=0.05)
        assert row["calls"] >= 1
    assert client.keys() == [b"others"]
    code, out, _ = shell.run("bench", "--seconds", "0.01", "--max-ratio", "0.1")
    assert code == 1, "nothing is ten times as fast as a plain command"
    assert "HINCRBY" in out


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_the_shell(shell: Shell, name: str) -> None:
    code, out, _ = shell.run("completion", name)
    assert code == 0
    assert "_EDGE_REDIS_COMPLETE" in out


def test_commands_are_completed(shell: Shell) -> None:
    _, out, _ = shell.execute(_EDGE_REDIS_COMPLETE="complete_bash", COMP_WORDS="edge-redis na", COMP_CWORD="1")
    assert out.split() == ["namespace"]


def test_up_removes_its_own_namespace_from_a_server_that_was_given(shell: Shell, client: Any) -> None:
    client.set("others", "stay")
    code, out, err = shell.execute("up", "--url", shell.url, "--nodes", "1", "--duration", "1", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["run"]["ended_by"] == "duration"
    assert client.keys() == [b"others"]


def test_up_without_psutil_says_what_to_install_before_anything_is_started(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.delitem(sys.modules, "edge_redis._site.telemetry", raising=False)
    code, out, err = shell.run("up", "--duration", "0.1")
    assert (code, out) == (1, "")
    assert "pip install 'edge-redis[agent]'" in err


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (0, "nodes"),
        (1, "node nobody"),
        (2, "nodes --polka"),
        (3, "nodes --url redis://127.0.0.1:1"),
        (130, "cache clear"),
    ],
)
def test_the_executable_ends_with_the_exit_code(shell: Shell, code: int, arguments: str) -> None:
    assert shell.execute(*arguments.split())[0] == code


def test_the_edge_s_password_is_never_sent_to_the_cloud(shell: Shell, valkey: Backend, tmp_path: Path) -> None:
    """A server without passwords refuses a client that sends one."""
    assert valkey.url is not None
    with embedded.start(password="edge-word") as edge, edge.client() as client:
        EdgeSynchronizer(client, scope="s", namespace="shop").update_local({"a": 1})
        address = f"redis://127.0.0.1:{edge.port}"
        words = ["worker", "--once", "--url", address, "--cloud-url", valkey.url]
        code, _, err = shell.run(*words, EDGE_REDIS_PASSWORD="edge-word")
        assert code == 0, err
        (tmp_path / "cloud").write_text("edge-word\n")
        words = ["worker", "--once", "--url", valkey.url, "--namespace", "other", "--cloud-url", address]
        assert shell.run(*words)[0] == 3
        code, _, err = shell.run(*words, "--cloud-password-file", str(tmp_path / "cloud"))
        assert code == 0, err
        code, _, err = shell.run(*words, EDGE_REDIS_CLOUD_PASSWORD="edge-word")
        assert code == 0, err
    with valkey.client() as client:
        assert RedisCloudStore(client, namespace="shop").get("s") is not None
