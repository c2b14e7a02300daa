"""Programs in other languages consume the changes of an edge by the page "Formats of sync" alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_redis import CloudWorker, ConflictStrategy, EdgeSynchronizer, RedisCloudStore
from edge_redis._sync.scripts import CONFIRM
from support.node import node_program
from support.servers import Backend
from support.sync import FailingStore

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"
PAGE = (DOCS / "reference" / "sync-formats.md").read_text()
TAG = "er:{default:sync0}"
TEXT = "0123456789abcdef" * 80
TAIL = "fedcba9876543210" * 4


@pytest.fixture
def client(valkey: Backend) -> Iterator[Any]:
    with valkey.client() as made:
        yield made


def _write(sync: EdgeSynchronizer, count: int) -> list[dict[str, Any]]:
    """Write a state of more than 1 KB and change a field of it; return the states of all versions."""
    states: list[dict[str, Any]] = [dict(sync.update_local({"n": 0, "tail": TAIL, "text": TEXT}).data)]
    states += [_change(sync, number) for number in range(1, count)]
    return states


def _change(sync: EdgeSynchronizer, number: int) -> dict[str, Any]:
    return dict(sync.update_local({"n": number, "tail": f"{number}{TAIL}"}, is_delta=True).data)


def _assert_nothing_waits(client: Any, sync: EdgeSynchronizer, version: int) -> None:
    assert sync.summary() == {
        "local_version": version,
        "remote_version": version,
        "pending_changes": 0,
        "is_synced": True,
        "sync_events": sync.summary()["sync_events"],
        "conflict_strategy": sync.summary()["conflict_strategy"],
    }
    store = RedisCloudStore(client)
    with CloudWorker(client, store) as worker:
        assert worker.lag()["scopes_waiting"] == 0
        assert worker.run_once() == 0
    left = {key.decode() for key in client.keys(f"{TAG}:*")}
    assert not left & {f"{TAG}:{name}" for name in ("pending:till-1", "bodies:till-1", "pending_bytes", "work")}


def _start(valkey: Backend) -> subprocess.Popen[str]:
    port = str(valkey.url).rsplit(":", 1)[1].split("/", maxsplit=1)[0]
    words = [node_program(), str(EXAMPLES / "consume_from_node.mjs"), port, "default", "till-1"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _consumed(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("strategy", [ConflictStrategy.REMOTE_WINS, ConflictStrategy.MERGE], ids=["plain", "merged"])
def test_a_node_program_consumes_full_and_spliced_changes(
    client: Any, valkey: Backend, strategy: ConflictStrategy
) -> None:
    sync = EdgeSynchronizer(client, strategy, scope="till-1")
    states = _write(sync, 8)
    sync.confirm_sync(2)  # the body of the oldest entry is made beside the outbox
    found = _consumed(_start(valkey))
    assert [(each["version"], each["state"]) for each in found] == [*enumerate(states, 1)][2:]
    assert all(each["spliced"] for each in found)
    sync.update_local({"only": "a few bytes"})
    sync.delete()
    found = _consumed(_start(valkey))
    assert [(each["version"], each["spliced"]) for each in found] == [(9, False), (10, False)]
    if strategy is ConflictStrategy.REMOTE_WINS:
        assert [each["state"] for each in found] == [{"only": "a few bytes"}, None]
    _assert_nothing_waits(client, sync, 10)


@pytest.mark.parametrize("max_pending", [1000, 3])
def test_no_change_is_lost_where_a_node_program_confirms_during_updates(
    client: Any, valkey: Backend, max_pending: int
) -> None:
    sync = EdgeSynchronizer(client, scope="till-1", max_pending=max_pending)
    states = _write(sync, 3)
    client.script_flush()  # the program sends the source of its script then
    process = _start(valkey)
    while process.poll() is None and len(states) < 400:
        states.append(_change(sync, len(states)))
    found = [(each["version"], each["state"]) for each in _consumed(process) + _consumed(_start(valkey))]
    if max_pending == 1000:
        assert found == [*enumerate(states, 1)]
    else:  # some have coalesced into later ones
        assert found[-1] == (len(states), states[-1])
        assert found == [(version, states[version - 1]) for version in sorted({version for version, _ in found})]
    _assert_nothing_waits(client, sync, len(states))


def test_an_update_between_the_read_and_the_confirmation_stays_pending(client: Any, valkey: Backend) -> None:
    sync = EdgeSynchronizer(client, scope="till-1", max_pending=2)
    _write(sync, 2)
    with valkey.client(**valkey.as_user("worker")) as consumer:
        assert consumer.zrange(f"{TAG}:work", 0, 31) == [b"till-1"]
        (_, fields) = consumer.xrange(f"{TAG}:pending:till-1", "-", "+")[-1]
        newest = sync.update_local({"n": 99}, is_delta=True)  # the oldest coalesces
        assert consumer.hkeys(f"{TAG}:bodies:till-1") == [b"2"]
        assert _confirm(consumer, 2, fields[b"clock"]) == b"OK 1"
        assert [(each["version"], each["data"]) for each in sync.get_pending_changes()] == [(3, newest.data)]
        assert (sync.remote_version, sync.is_synced) == (2, False)
        assert _confirm(consumer, 3, b"0" * 18) == b"REUSED"
        assert _confirm(consumer, 4, b"0" * 18) == b"ABOVE 3"
    assert sync.pending_count == 1


def _confirm(client: Any, version: int, clock: bytes) -> Any:
    keys = [f"{TAG}:{name}" for name in ("doc:till-1", "pending:till-1", "history:till-1", "work", "repeats", "totals")]
    script = (EXAMPLES / "confirm.lua").read_text()
    return client.eval(script, 6, *keys, "till-1", version, 1000, "", 0, "", clock)


def test_the_commands_of_the_page_consume_changes(client: Any, valkey: Backend, tmp_path: Path) -> None:
    if not shutil.which("redis-cli") or not shutil.which("bash"):
        pytest.skip("there is no redis-cli or no Bash")
    (commands,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    sync = EdgeSynchronizer(client, scope="till-1")
    _write(sync, 5)
    sync.update_local({"only": "a few bytes"})
    sync.delete()
    checksums = [fields[b"checksum"] for _, fields in client.xrange(f"{TAG}:pending:till-1")]
    environment = {**os.environ, "EDGE_REDIS_URL": str(valkey.url), "OUTPUT": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=EXAMPLES, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [line for number in range(1, 8) for line in (f"deliver {number}", "OK 1")]
    bodies = [(tmp_path / f"change-{number}").read_bytes() for number in range(1, 8)]
    assert [hashlib.sha256(body).hexdigest().encode() for body in bodies] == checksums
    _assert_nothing_waits(client, sync, 7)


@pytest.fixture
def accepted(client: Any) -> RedisCloudStore:
    """A cloud that has accepted three changes, of which an edge has pushed one."""
    cloud = RedisCloudStore(client)
    cloud.keep_accepted(max_body_bytes=100)
    cloud.update("price", {"tea": 3})
    EdgeSynchronizer(client, ConflictStrategy.MERGE, scope="till-1").update_local({"n": 1})
    with CloudWorker(client, cloud) as worker:
        worker.run_once()
    cloud.update("text", {"text": TEXT})
    cloud.delete("price")
    return cloud


def test_a_node_program_reads_accepted_changes(accepted: RedisCloudStore, valkey: Backend) -> None:
    port = str(valkey.url).rsplit(":", 1)[1].split("/", maxsplit=1)[0]
    words = [node_program(), str(EXAMPLES / "read_accepted_from_node.mjs"), port, "default", "g", "one"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"number": 1, "scope": "price", "version": 1, "state": {"tea": 3}},
        {"number": 2, "scope": "till-1", "version": 1, "state": {"n": 1}},
        {"number": 3, "scope": "text", "version": 1, "size": 1289},
        {"number": 4, "scope": "price", "version": 2, "state": None},
    ]
    status = accepted.accepted_status()
    assert status is not None
    assert status["groups"] == [{"group": "g", "consumers": 1, "pending": 0, "lag": 0, "lost": 0}]


def test_the_commands_of_the_how_to_read_accepted_changes(
    accepted: RedisCloudStore, valkey: Backend, tmp_path: Path
) -> None:
    if not shutil.which("redis-cli") or not shutil.which("bash"):
        pytest.skip("there is no redis-cli or no Bash")
    page = (DOCS / "how-to" / "read-accepted-changes.md").read_text()
    (commands,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    environment = {**os.environ, "EDGE_REDIS_URL": str(valkey.url), "OUTPUT": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["OK", "price 1", "1", "till-1 1", "1", "text 1", "1", "price 2", "1"]
    assert (tmp_path / "change-1").read_bytes() == b"\x81\xa3tea\x03"
    status = accepted.accepted_status()
    assert status is not None
    assert status["groups"][0]["pending"] == 0


def test_accepted_changes_are_stored_as_the_page_says(backend: Backend) -> None:
    with backend.client() as client:
        cloud = RedisCloudStore(client)
        cloud.keep_accepted(1000, max_age_seconds=60, max_body_bytes=100)
        state = cloud.update("s", {"n": 1})
        tag = "er:{default:cloud0}"
        assert client.get(f"{tag}:accepted_keep") == b"1000 60000 100"
        ((_, fields),) = client.xrange(f"{tag}:accepted")
        origin, clock = client.hmget(f"{tag}:doc:s", "origin", "clock")
        assert list(fields.items()) == [
            (b"number", b"1"), (b"scope", b"s"), (b"version", b"1"), (b"clock", clock), (b"origin", origin),
            (b"checksum", state.checksum.encode()), (b"data", b"\x81\xa1n\x01"),
        ]  # fmt: skip
        cloud.read_accepted("g", "one")
        assert client.hgetall(f"{tag}:accepted_groups") == {b"g": b"1 0"}


def test_the_script_of_the_page_is_what_the_package_runs() -> None:
    assert (EXAMPLES / "confirm.lua").read_text() == CONFIRM.source


def _golden_states() -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return the bodies of three versions, the splices that make the second and the third, and the checksums."""
    bodies = [b"\x82\xa1n" + bytes([number]) + b"\xa4text\xda\x05\x00" + TEXT.encode() for number in (1, 2, 3)]
    checksums = [hashlib.sha256(body).hexdigest().encode() for body in bodies]
    return bodies, [b"3 1 1:\x02", b"3 1 1:\x03"], checksums


def test_an_outbox_and_its_bodies_are_stored_as_the_page_says(backend: Backend) -> None:
    bodies, splices, checksums = _golden_states()
    with backend.client() as client:
        sync = EdgeSynchronizer(client, scope="till-1", origin="till")
        for number in (1, 2, 3):
            sync.update_local({"n": number, "text": TEXT}, is_delta=number == 2)
        entries: Any = client.xrange(f"{TAG}:pending:till-1")
        replica = client.get(f"{TAG}:replica_id")
        clocks = [fields.pop(b"clock") for _, fields in entries]
        common = {b"origin": b"till\x01" + replica, b"ancestor": b""}
        size = b"%d" % len(bodies[0])
        assert [len(clock) for clock in clocks] == [18] * 3
        assert entries == [
            (b"1-0", {b"data": bodies[0], b"position": b"0", b"checksum": checksums[0], b"is_delta": b"0", **common}),
            (b"2-0", {
                b"splice": splices[0], b"base": checksums[0], b"size": size, b"chain": b"1 1 7",
                b"position": b"%d" % (256 + len(bodies[0])), b"checksum": checksums[1], b"is_delta": b"1", **common,
            }),
            (b"3-0", {
                b"splice": splices[1], b"base": checksums[1], b"size": size, b"chain": b"2 2 14",
                b"position": b"%d" % (512 + len(bodies[0]) + 7), b"checksum": checksums[2], b"is_delta": b"0", **common,
            }),
        ]  # fmt: skip
        last = 768 + len(bodies[0]) + 14
        assert client.hgetall(f"{TAG}:pending_bytes") == {b"till-1": b"0 %d" % last}
        sync.confirm_sync(1)
        assert client.hgetall(f"{TAG}:bodies:till-1") == {b"2": bodies[1]}
        assert client.hgetall(f"{TAG}:pending_bytes") == {b"till-1": b"256 %d" % last}
        assert client.zrange(f"{TAG}:work", 0, -1, withscores=True) == [(b"till-1", int(clocks[1]) // 1000)]
        assert client.hgetall(f"{TAG}:scopes") == {b"till-1": b"remote_wins 100 coalesce till"}
        assert client.hmget(f"{TAG}:doc:till-1", "data", "peer_version") == [bodies[2], b"1"]


def test_the_cloud_keeps_a_chain_of_splices_as_the_page_says(backend: Backend) -> None:
    _, splices, checksums = _golden_states()
    with backend.client() as client:
        sync = EdgeSynchronizer(client, scope="till-1")
        with CloudWorker(client, RedisCloudStore(client)) as worker:
            for number in (1, 2, 3):
                sync.update_local({"n": number, "text": TEXT})
                worker.run_once()
        cloud = "er:{default:cloud0}"
        chain = checksums[2] + checksums[1] + b"7:" + splices[1] + checksums[0] + b"7:" + splices[0]
        assert client.hget(f"{cloud}:doc:till-1", "splice") == chain
        assert client.zrange(f"{cloud}:feed", 0, -1, withscores=True) == [(b"till-1", 3)]
        assert client.get(f"{cloud}:feed_number") == b"3"
        assert client.get(f"{cloud}:layout") == client.get(f"{TAG}:layout") == b"1"


def test_a_dead_letter_has_the_full_body_of_a_spliced_change(backend: Backend) -> None:
    bodies, _, _ = _golden_states()
    with backend.client() as client:
        sync = EdgeSynchronizer(client, scope="till-1")
        for number in (1, 2, 3):
            sync.update_local({"n": number, "text": TEXT})
        with CloudWorker(client, FailingStore(2), max_deliveries=1) as worker:
            worker.run_once()
            worker.run_once()
        ((_, letter),) = client.xrange(f"{TAG}:dead")
        assert list(letter) == [
            b"scope", b"version", b"deliveries", b"error", b"data", b"checksum", b"clock", b"origin", b"ancestor",
            b"is_delta",
        ]  # fmt: skip
        assert (letter[b"scope"], letter[b"version"], letter[b"data"]) == (b"till-1", b"2", bodies[1])
