"""``watch()``: transitions as they happen, from where one left off."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import pytest

from edge_redis import (
    EdgeNode,
    HealthMonitor,
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTypeError,
    StoreUnavailableError,
    Transition,
    aio,
)
from support.servers import Backend


def node(name: str, seconds: float) -> EdgeNode:
    return EdgeNode(name, name, last_heartbeat=datetime.now(UTC) - timedelta(seconds=seconds))


def flap(monitor: HealthMonitor, *names: str) -> None:
    """Let each node fail and recover once."""
    for seconds in (100.0, 1.0):
        monitor.check_cluster([node(name, seconds) for name in names])


def pairs_of(changes: list[Transition]) -> list[tuple[str, str]]:
    return [(change.node_id, change.state) for change in changes]


ONE_EACH = [("a", "unhealthy"), ("b", "unhealthy"), ("a", "recovered"), ("b", "recovered")]


def test_it_yields_what_comes_after_the_call(client: Any) -> None:
    with HealthMonitor(client) as monitor:
        flap(monitor, "old")
        changes = monitor.watch(timeout=0.05, poll_seconds=0.01)
        flap(monitor, "a", "b")
        assert pairs_of(list(changes)) == ONE_EACH


def test_it_resumes_from_a_position_and_by_node(client: Any) -> None:
    with HealthMonitor(client) as monitor:
        flap(monitor, "a", "b")
        everything = list(monitor.watch("0", timeout=0.02, poll_seconds=0.01))
        assert pairs_of(everything) == ONE_EACH
        assert everything == monitor.transitions()
        for index, change in enumerate(everything):
            assert list(monitor.watch(change.position, timeout=0.02, poll_seconds=0.01)) == everything[index + 1 :]
        mine = list(monitor.watch("0", node_id="b", timeout=0.02, poll_seconds=0.01))
        assert pairs_of(mine) == [("b", "unhealthy"), ("b", "recovered")]


def test_more_than_a_page_comes_once_and_in_order(client: Any) -> None:
    with HealthMonitor(client) as monitor:
        for _ in range(3):
            flap(monitor, *(f"n{number}" for number in range(80)))
        found = list(monitor.watch("0", timeout=0.02, poll_seconds=0.01))
        assert len(found) == 480
        assert found == monitor.transitions(1000)


def test_it_says_where_transitions_were_removed_before_they_were_read(client: Any) -> None:
    stream = "er:{default:health0}:transitions"
    with HealthMonitor(client) as monitor:
        flap(monitor, "a", "b")
        changes = monitor.watch("0", timeout=0.02, poll_seconds=0.01)
        first = next(changes)
        rest = [next(changes) for _ in range(3)]
        flap(monitor, *(f"n{number}" for number in range(10)))
        client.xtrim(stream, maxlen=5, approximate=False)
        gap, *found = list(changes)
        assert (gap.node_id, gap.state, gap.reason) == (
            "",
            "transitions_lost",
            "15 transitions were removed from the stream before they were read",
        )
        assert len(found) == 5
        resumed = list(monitor.watch(rest[-1].position, timeout=0.02, poll_seconds=0.01))
        assert [change.state for change in resumed] == ["transitions_lost", *["recovered"] * 5]
        assert list(monitor.watch(gap.position, timeout=0.02, poll_seconds=0.01)) == found
        everything = list(monitor.watch("0", timeout=0.02, poll_seconds=0.01))
        assert everything == found, "all that are kept"
        assert first.state == "unhealthy"


def test_the_timeout_of_one_node_s_changes_ends_it_while_others_change(client: Any) -> None:
    with HealthMonitor(client) as monitor:
        changes = monitor.watch(node_id="mine", timeout=0.05, poll_seconds=0.01)
        stop = threading.Event()

        def churn() -> None:
            while not stop.is_set():
                flap(monitor, "other")

        writer = threading.Thread(target=churn)
        writer.start()
        try:
            assert list(changes) == []
        finally:
            stop.set()
            writer.join()


def test_it_waits_for_what_another_process_writes(backend: Backend) -> None:
    with backend.client() as one, backend.client() as two, HealthMonitor(one) as monitor, HealthMonitor(two) as other:
        changes = monitor.watch(timeout=30.0, poll_seconds=0.01)
        writer = threading.Thread(target=flap, args=(other, "a"))
        writer.start()
        assert pairs_of([next(changes), next(changes)]) == [("a", "unhealthy"), ("a", "recovered")]
        writer.join()


def test_closing_the_monitor_ends_it(client: Any) -> None:
    monitor = HealthMonitor(client)
    changes = monitor.watch("0", poll_seconds=0.01)
    flap(monitor, "a")
    assert pairs_of([next(changes)]) == [("a", "unhealthy")]
    monitor.close()
    assert pairs_of(list(changes)) == [("a", "recovered")], "what was already read still comes"


def test_a_server_that_goes_away_ends_it() -> None:
    server = fakeredis.FakeServer()
    with fakeredis.FakeRedis(server=server) as client, HealthMonitor(client) as monitor:
        changes = monitor.watch(poll_seconds=0.01)
        flap(monitor, "a")
        first = next(changes)
        second = next(changes)
        server.connected = False
        with pytest.raises(StoreUnavailableError):
            next(changes)
        server.connected = True
        assert list(monitor.watch(first.position, timeout=0.02, poll_seconds=0.01)) == [second]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"position": "now"}, InvalidArgumentError),
        ({"position": ""}, InvalidKeyError),
        ({"position": 5}, InvalidTypeError),
        ({"position": "-1"}, InvalidArgumentError),
        ({"position": "1" * 21}, InvalidArgumentError),
        ({"node_id": ""}, InvalidKeyError),
        ({"timeout": 0}, InvalidArgumentError),
        ({"timeout": float("nan")}, InvalidArgumentError),
        ({"poll_seconds": 0}, InvalidArgumentError),
        ({"poll_seconds": "1"}, InvalidTypeError),
    ],
)
def test_bad_arguments_are_refused_at_the_call(make: Any, arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        make("HealthMonitor").watch(**arguments)


def test_awaited(backend: Backend) -> None:
    async def scenario() -> list[tuple[str, str]]:
        client = backend.async_client()
        async with aio.HealthMonitor(client) as monitor:

            async def write() -> None:
                for seconds in (100.0, 1.0):
                    await monitor.check_cluster([node("a", seconds), node("b", seconds)])

            await monitor.check_node(node("old", 100.0))
            changes = monitor.watch(timeout=0.2, poll_seconds=0.01)
            first = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0.05)  # the iteration begins
            await write()
            found = [await first, *[change async for change in changes]]
            again = [change async for change in monitor.watch(found[0].position, timeout=0.02, poll_seconds=0.01)]
            assert again == found[1:]
        await client.aclose()
        return pairs_of(found)

    assert asyncio.run(scenario()) == ONE_EACH
