"""edge-redis sync, on a real server, as a user runs it."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from edge_redis import CloudWorker, ConflictStrategy, EdgeSynchronizer, RedisCloudStore
from edge_redis.cli.main import main
from edge_redis.cloudstores.sql import SqlCloudStore
from support.checked import present
from support.servers import Backend
from support.sync import NOON, FailingStore, remote


@pytest.fixture
def edge(valkey: Backend, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    caplog.set_level(logging.CRITICAL, "edge_redis")
    with valkey.client() as client:
        yield client


def run(capsys: pytest.CaptureFixture[str], valkey: Backend, *arguments: Any) -> Any:
    code = main(["sync", *arguments, "--url", present(valkey.url), "--namespace", "site"])
    return code, capsys.readouterr().out


def give_up(edge: Any) -> None:
    with EdgeSynchronizer(edge, scope="room", namespace="site") as sync:
        sync.update_local({"n": 1})
    with CloudWorker(edge, FailingStore(), namespace="site", max_deliveries=1) as worker:
        worker.run_once()


def test_the_status_counts_what_waits_and_what_went(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    syncs = [EdgeSynchronizer(edge, scope=f"s{number}", namespace="site") for number in range(3)]
    for sync in syncs:
        sync.update_local({"n": 1})
        sync.update_local({"n": 2})
    with CloudWorker(edge, edge, namespace="site") as worker:
        worker.run_once()
        assert worker.status()["pushed_total"] == 6
    syncs[0].update_local({"n": 3})
    syncs[1].update_local({"n": 3})
    code, out = run(capsys, valkey, "status", "--seconds", "0.01")
    assert code == 0
    assert "scopes: 3, 2 with 2 changes pending" in out
    assert "pushed: 6 in all, 0.0 a second now" in out
    assert "dead letters: 0" in out


def test_dead_letters_are_listed_and_replayed(edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, valkey, "dead-letters") == (0, "no dead letters\n")
    give_up(edge)
    code, out = run(capsys, valkey, "dead-letters")
    assert code == 1
    assert re.search(r"room +1 +1 +\S+ \S+ +RuntimeError: no room", out)
    code, out = run(capsys, valkey, "dead-letters", "--json")
    assert code == 1
    assert [(each["scope"], each["version"], each["error"]) for each in json.loads(out)] == [
        ("room", 1, "RuntimeError: no room")
    ]
    assert run(capsys, valkey, "status", "--seconds", "0.01")[0] == 1
    assert run(capsys, valkey, "dead-letters", "--replay") == (0, "replayed: 1\nno dead letters\n")
    assert present(RedisCloudStore(edge, namespace="site").get("room")).data == {"n": 1}


def test_dead_letters_are_discarded_by_their_ids(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    give_up(edge)
    found = json.loads(run(capsys, valkey, "dead-letters", "--json")[1])
    assert run(capsys, valkey, "discard", found[0]["id"]) == (0, "discarded: 1\n")
    assert run(capsys, valkey, "discard", found[0]["id"], "--json") == (1, '{"discarded": 0}\n')
    assert run(capsys, valkey, "dead-letters") == (0, "no dead letters\n")


def test_a_clone_gets_an_identity_of_its_own_and_its_report_ends(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    edge.set("er:{site:sync0}:clone", "seen", ex=86400)
    assert "a clone of this edge wrote" in run(capsys, valkey, "status", "--seconds", "0.01")[1]
    code, out = run(capsys, valkey, "new-identity", "--json")
    assert code == 0
    assert edge.get("er:{site:sync0}:replica_id").decode().startswith(json.loads(out)["replica_id"])
    assert "clone" not in run(capsys, valkey, "status", "--seconds", "0.01")[1]
    assert run(capsys, valkey, "new-identity")[1].startswith("this edge is now ")


def test_dead_letters_are_replayed_into_an_sql_database(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    give_up(edge)
    url = f"sqlite:///{tmp_path}/cloud.db"
    done = run(capsys, valkey, "dead-letters", "--replay", "--cloud-url", url)
    assert done == (0, "replayed: 1\nno dead letters\n")
    with SqlCloudStore(url, namespace="site") as cloud:
        assert present(cloud.get("room")).data == {"n": 1}
    bad = run(capsys, valkey, "dead-letters", "--replay", "--cloud-url", "postgresql+nodriver://h/x")
    assert bad[0] == 2


def test_those_that_fail_again_are_listed(edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    give_up(edge)
    edge.set("er:{site:cloud0}:doc:room", "of another type")
    code, out = run(capsys, valkey, "dead-letters", "--replay")
    assert code == 1
    assert out.startswith("replayed: 0\n")
    assert "room" in out


def test_deletes_of_long_ago_are_purged(edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    sync = EdgeSynchronizer(edge, scope="room", namespace="site")
    sync.update_local({"n": 1})
    sync.delete()
    with CloudWorker(edge, edge, namespace="site") as worker:
        worker.run_once()
    assert run(capsys, valkey, "purge-tombstones") == (0, "purged: 0 at the edge, 0 in the cloud\n")
    assert run(capsys, valkey, "purge-tombstones", "--days", "0") == (0, "purged: 1 at the edge, 1 in the cloud\n")


def test_deletes_are_purged_in_an_sql_database(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/cloud.db"
    with SqlCloudStore(url, namespace="site") as cloud:
        cloud.update("room", {"n": 1})
        cloud.delete("room")
        assert edge.ping()
        done = run(capsys, valkey, "purge-tombstones", "--days", "0", "--cloud-url", url)
        assert done == (0, "purged: 0 at the edge, 1 in the cloud\n")
        assert cloud.changes_since().changes == []


@pytest.mark.parametrize(
    "arguments", [["purge-tombstones", "--days", "-1"], ["status", "--seconds", "0"], ["dead-letters", "--limit", "0"]]
)
def test_bad_arguments_are_one_line_and_2(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str], arguments: Any
) -> None:
    assert edge.ping()
    assert run(capsys, valkey, *arguments)[0] == 2


def test_both_ends_are_printed_and_compared(edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, valkey, "get", "room") == (1, "")
    with EdgeSynchronizer(edge, scope="room", namespace="site") as sync:
        sync.update_local({"n": 1, "m": [1]})
        with CloudWorker(edge, edge, namespace="site") as worker:
            worker.run_once()
        assert run(capsys, valkey, "diff", "room") == (0, "edge version 1, cloud version 1\nequal\n")
        sync.update_local({"n": 2, "new": "x"}, is_delta=True)
    code, out = run(capsys, valkey, "get", "room", "--json")
    assert code == 0
    assert json.loads(out)["version"] == 2
    code, out = run(capsys, valkey, "get", "room", "--cloud")
    assert (code, json.loads(out)) == (0, {"m": [1], "n": 1})
    code, out = run(capsys, valkey, "diff", "room")
    assert code == 1
    assert out.splitlines() == ["edge version 2, cloud version 1", "- n: 2", "+ n: 1", '- new: "x"']
    code, out = run(capsys, valkey, "diff", "room", "--json")
    assert json.loads(out)["fields"] == {"n": {"edge": 2, "cloud": 1}, "new": {"edge": "x"}}
    assert json.loads(run(capsys, valkey, "scopes", "--json")[1]) == [
        {"scope": "room", "version": 2, "pending": 1, "conflicts": 0}
    ]
    code, out = run(capsys, valkey, "pending", "room", "--json")
    assert [(each["version"], each["is_delta"]) for each in json.loads(out)] == [(2, True)]
    code, out = run(capsys, valkey, "history", "room")
    assert code == 0
    assert re.search(r"push +1 +ok", out)


def test_a_conflict_is_listed_and_resolved(edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, valkey, "conflicts", "room") == (0, "no conflicts\n")
    cloud = RedisCloudStore(edge, namespace="site")
    with EdgeSynchronizer(edge, scope="room", namespace="site") as sync:
        sync.update_local({"n": "edge"})
        for number in range(3):
            cloud.update("room", {"n": number})
        with CloudWorker(edge, edge, namespace="site") as worker:
            while worker.run_once():
                pass
    code, out = run(capsys, valkey, "conflicts", "room", "--json")
    assert code == 1
    [conflict] = json.loads(out)
    assert conflict["data"] == {"n": "edge"}
    code, out = run(capsys, valkey, "resolve", "room", conflict["id"], "--data", '{"n": "both"}')
    assert (code, out) == (0, "room: version 4\n")
    assert json.loads(run(capsys, valkey, "get", "room")[1]) == {"n": "both"}
    assert run(capsys, valkey, "resolve", "room", conflict["id"], "--data", "[1]")[0] == 2


def test_resolving_keeps_the_settings_of_the_scope_and_what_waits(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: Any = {"scope": "room", "namespace": "site", "origin": "till", "max_pending": 500}
    with EdgeSynchronizer(edge, ConflictStrategy.LATEST_WINS, **arguments) as sync:
        sync.update_local({"n": "edge"})
        sync.apply_remote(remote({"n": "elsewhere"}, 1, origin="other", at=NOON.replace(year=2999)))
        for number in range(120):
            sync.update_local({"n": number})
        [conflict] = sync.conflicts()
        assert run(capsys, valkey, "resolve", "room", conflict["id"])[0] == 0
        state = present(sync.get_local_state())
        assert (state.data, state.origin, sync.pending_count) == ({"n": "edge"}, "till", 122)
        assert sync.update_local({"n": "again"}).version == state.version + 1


def test_no_command_changes_the_settings_of_a_scope(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: Any = {"scope": "room", "namespace": "site", "origin": "till", "overflow": "reject"}
    with EdgeSynchronizer(edge, ConflictStrategy.LATEST_WINS, 7, **arguments) as sync:
        sync.update_local({"n": "edge"})
        sync.apply_remote(remote({"n": "elsewhere"}, 1, origin="other", at=NOON.replace(year=2999)))
        [conflict] = sync.conflicts()
        for command in ("get", "diff", "pending", "history", "conflicts"):
            run(capsys, valkey, command, "room")
        assert run(capsys, valkey, "resolve", "room", conflict["id"])[0] == 0
        assert edge.hgetall("er:{site:sync0}:scopes") == {b"room": b"latest_wins 7 reject till"}


def test_a_signed_scope_is_resolved_with_the_key_of_its_origin(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = b"the key of the till"
    keys = tmp_path / "keys.toml"
    keys.write_text(f'till = "{key.decode()}"\n')
    keys.chmod(0o600)
    with EdgeSynchronizer(edge, scope="room", namespace="site", origin="till", signing_key=key) as sync:
        sync.update_local({"n": "edge"})
        sync.apply_remote(remote({"n": "elsewhere"}, 4, origin="other"))
        [conflict] = sync.conflicts()
    assert run(capsys, valkey, "resolve", "room", conflict["id"], "--keys-file", str(keys))[0] == 0
    with CloudWorker(edge, edge, namespace="site", keys={"till": key, "cloud": key}) as worker:
        while worker.run_once():
            pass
        assert worker.dead_letters() == []
    with RedisCloudStore(edge, namespace="site") as cloud:
        assert present(cloud.get("room")).data == {"n": "edge"}


@pytest.mark.parametrize("arguments", [["get", "room"], ["get", "room", "--json"], ["pending", "room", "--json"]])
def test_data_send_no_command_to_the_terminal(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str], arguments: Any
) -> None:
    with EdgeSynchronizer(edge, scope="room", namespace="site") as sync:
        sync.update_local({"\x9b2J\x7f": "\u202egnp.exe\x1b[0m", "name": "M\u00fcller"})
    out = run(capsys, valkey, *arguments)[1]
    assert out.replace("\n", "").isprintable()
    assert "M\u00fcller" in out
    assert '"\\u009b2J\\u007f": "\\u202egnp.exe\\u001b[0m"' in out


def test_values_are_compared_and_printed_that_json_and_equality_do_not_know(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = {"nan": math.nan, "signalling": Decimal("sNaN"), "huge": 10**5000}
    with (
        EdgeSynchronizer(edge, scope="room", namespace="site") as sync,
        CloudWorker(edge, edge, namespace="site") as worker,
    ):
        sync.update_local({**odd, "one": 1})
        worker.run_once()
        assert run(capsys, valkey, "diff", "room") == (0, "edge version 1, cloud version 1\nequal\n")
        sync.update_local({**odd, "one": True})
    code, out = run(capsys, valkey, "diff", "room", "--json")
    assert (code, json.loads(out)["fields"]) == (1, {"one": {"edge": True, "cloud": 1}})
    code, out = run(capsys, valkey, "get", "room", "--json")
    assert (code, json.loads(out)["data"]["huge"]) == (0, hex(10**5000))


def test_a_scope_that_cannot_be_one_is_refused_by_every_command(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edge.ping()
    for command in ("get", "diff", "pending", "history", "conflicts", "release-authority"):
        assert run(capsys, valkey, command, "\udcff")[0] == 2, command
    assert run(capsys, valkey, "resolve", "\udcff", "1-0")[0] == 2


def test_a_scope_without_authority_has_none_to_release(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edge.ping()
    assert run(capsys, valkey, "release-authority", "room") == (1, "room: had no authority\n")
    code, out = run(capsys, valkey, "release-authority", "room", "--json")
    assert (code, json.loads(out)) == (1, {"scope": "room", "released": False})
