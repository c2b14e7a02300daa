"""edge-redis top: what it shows of a site, its keys, and its ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from edge_redis import EdgeNode, EdgeNodeStatus, EdgeRedis, InvocationRecord, aio
from edge_redis._site.reader import SiteReader
from edge_redis.cli._top.app import TopApp
from edge_redis.cli._top.charts import meter, rates, sparkline
from edge_redis.cli._top.live_table import LiveTable
from edge_redis.models import utc_now
from support.checked import present
from support.servers import Backend
from support.shell import COMMAND, Shell

SIZE = (80, 24)
Steps = Callable[[Pilot[None]], Awaitable[None]]


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


@pytest.fixture
def edge(server: fakeredis.FakeServer) -> Iterator[EdgeRedis]:
    with fakeredis.FakeRedis(server=server) as client, EdgeRedis(client, namespace="shop") as made:
        for number in (1, 2, 3):
            made.health.register(EdgeNode(f"till-{number}", f"Till {number}", "front"))
        made.health.heartbeat("till-3", EdgeNodeStatus.OFFLINE)
        for number in (1, 2, 3):
            made.health.check_node(f"till-{number}")
        at = utc_now()
        made.metrics.record_many(
            [
                InvocationRecord("sell", "till-1", 5.0, success=True, timestamp=at - timedelta(minutes=n))
                for n in range(9)
            ]
            + [InvocationRecord("print", "till-1", 50.0, success=False, timestamp=at, error="no paper")]
        )
        made.cache.put("price", 320)
        made.cache.get("price")
        made.synchronizer("till/1").update_local({"total": 5})
        made.worker(made.client).run_once()
        made.synchronizer("till/1").update_local({"total": 7})
        yield made


def run(server: fakeredis.FakeServer, steps: Steps, size: tuple[int, int] = SIZE) -> None:
    """Run the application on a site, and the steps of its user."""

    @asynccontextmanager
    async def open_site() -> AsyncIterator[SiteReader]:
        client = fakeredis.FakeAsyncRedis(server=server)
        async with client, aio.EdgeRedis(client, namespace="shop") as bundle:
            reader = SiteReader(bundle)
            yield reader
            await reader.close()

    async def main() -> None:
        site: Callable[[], AbstractAsyncContextManager[SiteReader]] = open_site
        app = TopApp(site, interval=0.1)
        async with app.run_test(size=size) as pilot:
            await steps(pilot)

    asyncio.run(main())


def text_of(pilot: Pilot[None], *names: str) -> str:
    return "\n".join(str(pilot.app.query_one(f"#{name}", Static).render()) for name in names)


def rows_of(pilot: Pilot[None], name: str) -> list[str]:
    table = pilot.app.query_one(f"#{name}", LiveTable)
    return ["  ".join(map(str, table.get_row_at(row))) for row in range(table.row_count)]


async def wait_for(pilot: Pilot[None], condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await pilot.pause(0.05)


def test_the_overview_shows_all_services(edge: EdgeRedis, server: fakeredis.FakeServer) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await wait_for(pilot, lambda: "till-3" in text_of(pilot, "news"))
        assert "1 of 3 nodes unhealthy" in text_of(pilot, "title")
        nodes = text_of(pilot, "fleet").splitlines()
        assert nodes[0].split() == ["2", "healthy", "1", "unhealthy", "0", "maint."]
        assert nodes[1].startswith("till-3"), "the node with the problem is first"
        assert "10  good 90.0%" in text_of(pilot, "calls")
        assert "100.0% of 1 reads" in text_of(pilot, "cache")
        assert "pending     1  lag" in text_of(pilot, "scopes")

    run(server, steps)


def test_what_changes_is_seen_without_a_key(edge: EdgeRedis, server: fakeredis.FakeServer) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await wait_for(pilot, lambda: "1 of 3 nodes unhealthy" in text_of(pilot, "title"))
        edge.health.heartbeat("till-3", EdgeNodeStatus.ONLINE)
        edge.health.check_node("till-3")
        await wait_for(pilot, lambda: "0 of 3 nodes unhealthy" in text_of(pilot, "title"))

    run(server, steps)


def test_a_node_is_opened_and_left(edge: EdgeRedis, server: fakeredis.FakeServer) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("2")
        await wait_for(pilot, lambda: len(rows_of(pilot, "nodes")) == 3)
        assert rows_of(pilot, "nodes")[0].startswith("till-3  unhealthy")
        await pilot.press("down", "enter")
        await wait_for(pilot, lambda: "till-1" in text_of(pilot, "text"))
        detail = text_of(pilot, "text")
        assert "advice        Normal" in detail
        assert "in 24 h" in detail
        assert "sell" in detail
        await pilot.press("escape")
        assert pilot.app.query_one("#body").current == "nodes"  # type: ignore[attr-defined]
        await pilot.press("escape")
        assert pilot.app.query_one("#body").current == "overview"  # type: ignore[attr-defined]

    run(server, steps)


def test_functions_are_sorted_and_opened(edge: EdgeRedis, server: fakeredis.FakeServer) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("3")
        await wait_for(pilot, lambda: len(rows_of(pilot, "functions")) == 2)
        assert [row.split()[0] for row in rows_of(pilot, "functions")] == ["sell", "print"]
        assert "█" in rows_of(pilot, "functions")[0], "its last minutes"
        await pilot.press("s")
        await wait_for(pilot, lambda: rows_of(pilot, "functions")[0].startswith("print"))
        await pilot.press("up", "enter")
        await wait_for(pilot, lambda: "no paper" in text_of(pilot, "text"))
        assert "p95 over time" in text_of(pilot, "text")

    run(server, steps)


def test_a_scope_is_compared_at_both_ends(edge: EdgeRedis, server: fakeredis.FakeServer) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("4")
        await wait_for(pilot, lambda: rows_of(pilot, "sync"))
        await pilot.press("enter")
        await wait_for(pilot, lambda: "different at the ends" in text_of(pilot, "text"))
        field = next(line for line in text_of(pilot, "text").splitlines() if line.startswith("total"))
        assert field.split() == ["total", "7", "5"]

    run(server, steps)


def test_an_event_opens_its_node(edge: EdgeRedis, server: fakeredis.FakeServer) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("5")
        await wait_for(pilot, lambda: rows_of(pilot, "events"))
        row = rows_of(pilot, "events")[0]
        assert "till-3  unhealthy  status is offline" in row
        assert row.endswith("…"), "the reason is cut, not left out"
        await pilot.press("enter")
        await wait_for(pilot, lambda: "Investigate connectivity" in text_of(pilot, "text"))

    run(server, steps)


def test_a_narrow_terminal_loses_columns_and_no_names(edge: EdgeRedis, server: fakeredis.FakeServer) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("2")
        await wait_for(pilot, lambda: rows_of(pilot, "nodes"))
        assert rows_of(pilot, "nodes")[0].split() == ["till-3", "unhealthy"]
        await pilot.resize_terminal(100, 24)
        await wait_for(pilot, lambda: "Till 3" in rows_of(pilot, "nodes")[0])

    run(server, steps, size=(24, 24))


def test_names_send_no_commands_to_the_terminal(edge: EdgeRedis, server: fakeredis.FakeServer) -> None:
    edge.health.register(EdgeNode("till\x1b[2J", "[bold]Till[/bold]"))

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("2")
        await wait_for(pilot, lambda: len(rows_of(pilot, "nodes")) == 4)
        row = next(row for row in rows_of(pilot, "nodes") if "2J" in row)
        assert row.startswith(r'"till\u001b[2J"')
        assert "[bold]Till[/bold]" in row, "markup is text"

    run(server, steps, size=(140, 24))


def test_an_outage_is_said_and_survived(edge: EdgeRedis, server: fakeredis.FakeServer) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await wait_for(pilot, lambda: "1 of 3" in text_of(pilot, "title"))
        server.connected = False
        await wait_for(pilot, lambda: "no answer" in text_of(pilot, "title"))
        assert "till-3" in text_of(pilot, "fleet"), "the last known state stays"
        server.connected = True
        await wait_for(pilot, lambda: "1 of 3" in text_of(pilot, "title"))

    run(server, steps)


def test_a_pause_stops_reading(edge: EdgeRedis, server: fakeredis.FakeServer) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await wait_for(pilot, lambda: "1 of 3" in text_of(pilot, "title"))
        await pilot.press("p")
        assert "paused" in text_of(pilot, "title")
        server.connected = False
        await pilot.pause(0.1)
        assert "no answer" not in text_of(pilot, "title")
        await pilot.press("p")
        await wait_for(pilot, lambda: "no answer" in text_of(pilot, "title"))

    run(server, steps)


def test_outside_a_terminal_it_says_what_to_use(
    valkey: Backend, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = Shell(present(valkey.url), tmp_path, capfd).run("top")
    assert code == 2
    assert "top needs a terminal: use 'edge-redis status --watch 5'" in err


def test_without_textual_it_says_what_to_install(
    valkey: Backend, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "edge_redis.cli._top.app", None)
    code, _, err = Shell(present(valkey.url), tmp_path, capfd).run("top")
    assert code == 1
    assert "pip install 'edge-redis[top]'" in err


def test_charts() -> None:
    assert sparkline([0, 1, 50, 100], 4) == "▁▂▅█"
    assert sparkline([1, 2, None], 2) == "█·"
    assert sparkline([], 5) == sparkline([1], 0) == ""
    assert sparkline([5.0], 1, top=10.0) == "▅"
    assert rates([1, 4, 2, 2]) == [3, 0, 0]
    assert (meter(50, 4), meter(-1, 2), meter(200, 2)) == ("██░░", "░░", "██")


def test_the_executable_runs_in_a_terminal_and_ends_with_a_key(
    valkey: Backend, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(present(valkey.url), tmp_path, capfd)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    environment = {**shell.environment, "TERM": "xterm-256color"}
    with subprocess.Popen([*COMMAND, "top"], env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"overview" not in shown:
            shown += os.read(ours, 65536)
        os.write(ours, b"q")
        with contextlib.suppress(OSError):  # at the end of the terminal
            while data := os.read(ours, 65536):
                shown += data
        assert process.wait(30) == 0
    os.close(ours)
    assert shown.rindex(b"\x1b[?1049l") > shown.rindex(b"\x1b[?1049h"), "the screen is given back"
