"""The scheduler itself: it finds what it is there to find, and counts what it runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import command
from edge_redis._core.script import load
from support.checked import bytes_of
from support.simulation import CRASHES, LOSSES, Actor, Fault, Scenario, explore, replay, seeds


async def increment() -> int:
    """A lost update waiting to happen: read, then write."""
    value = await command(lambda reply: int(reply or 0), "GET", "counter")
    await command(str, "SET", "counter", value + 1)
    return value + 1


def two_incrementing(expected: int = 2) -> Scenario:
    server = fakeredis.FakeServer()
    client = fakeredis.FakeRedis(server=server)

    def check(_actors: object) -> None:
        assert int(bytes_of(client.get("counter"))) == expected

    actors = [Actor(name, fakeredis.FakeRedis(server=server), increment) for name in ("a", "b")]
    return Scenario(actors, check)


def test_every_interleaving_is_run() -> None:
    # Two actors of two steps each: 4! / (2! * 2!) orders.
    def harmless() -> Scenario:
        scenario = two_incrementing()
        scenario.check = lambda _actors: None
        return scenario

    assert explore(harmless) == 6


def test_a_lost_update_is_found_and_replays_from_its_choices() -> None:
    with pytest.raises(AssertionError, match=r"choices \[0, 1, 0, 0\]") as failure:
        explore(two_incrementing)
    assert "b: <Operation GET> ok" in str(failure.value)
    with pytest.raises(AssertionError, match="lead to"):
        replay(two_incrementing, [0, 1, 0, 0])


def test_a_lost_update_is_found_by_seeds() -> None:
    with pytest.raises(AssertionError, match="seed"):
        seeds(two_incrementing, count=50)


def count_once() -> Scenario:
    """One INCR under every loss: without an operation id it is counted 0, 1 or 2 times."""
    client = fakeredis.FakeRedis()
    actor = Actor("a", client, lambda: command(int, "INCR", "n"), (*LOSSES, *CRASHES))
    return Scenario([actor], lambda _actors: seen.add(int(client.get("n") or 0)))


seen: set[int] = set()


def test_every_fault_is_tried() -> None:
    seen.clear()
    assert explore(count_once) == 1 + len(LOSSES) + len(CRASHES)
    assert seen == {0, 1, 2}


def test_faults_are_bounded() -> None:
    client = fakeredis.FakeRedis()

    async def twice() -> None:
        await command(int, "INCR", "n")
        await command(int, "INCR", "n")

    def make(max_faults: int) -> Scenario:
        return Scenario([Actor("a", client, twice, [Fault.REPEATED])], lambda _actors: None, max_faults)

    assert explore(lambda: make(0)) == 1
    assert explore(lambda: make(1)) == 3
    assert explore(lambda: make(2)) == 4


def test_an_operation_id_makes_a_repeat_harmless(script_folder: Any) -> None:
    bump = load(script_folder, "bump")
    slots = IdempotencyKeys()

    async def once() -> int:
        with slots.acquire() as (slot, number):
            return await bump(["{t}:n", "{t}:repeats"], [slot, number], int)

    def make() -> Scenario:
        client = fakeredis.FakeRedis()

        def check(actors: Sequence[Actor]) -> None:
            total = int(client.get("{t}:n") or 0)
            acknowledged = [actor.result for actor in actors if actor.acknowledged]
            assert all(0 < result <= total for result in acknowledged)
            assert len(set(acknowledged)) == len(acknowledged)
            assert len(acknowledged) <= total <= len(actors)

        return Scenario([Actor(name, client, once, LOSSES) for name in "ab"], check, max_faults=2)

    assert explore(make) > 10


@pytest.fixture
def script_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package = tmp_path / "bumping"
    (package / "lua").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "lua" / "bump.lua").write_text(
        "-- Add one, once.\n"
        "-- KEYS[1] n\n-- KEYS[2] repeats\n-- ARGV[1] slot\n-- ARGV[2] number\n"
        "-- Reply: the count\n-- Invariant: one a call\n-- Repeat: remembered\n"
        "-- include: clock\n-- include: idempotency\n"
        "local at = now_ms()\n"
        "local before = recall(KEYS[2], at, ARGV[1], ARGV[2])\n"
        "if before then return tonumber(before) end\n"
        "local count = redis.call('INCR', KEYS[1])\n"
        "remember(KEYS[2], at, ARGV[1], ARGV[2], count)\n"
        "return count\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "bumping"
