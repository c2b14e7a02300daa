"""Damaged keys under every public call: a right result, an error of the package or repair, never a raw error."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import msgpack
import pytest
from conftest import Maker

from edge_redis import (
    CorruptDataError,
    EdgeNode,
    EdgeRedisError,
    InvocationRecord,
)
from edge_redis._core.codec import decode, encode
from support.damage import damage_key, describe_key
from support.deadline import HangError, deadline
from support.filled_services import BERLIN, FILLERS, Call
from support.servers import Backend


def assert_call_survives(name: str, call: Call, message: str) -> bool:
    """Make a call; return whether it succeeded. Fail where it raises a raw error or does not end."""
    try:
        with deadline(name):
            call()
    except EdgeRedisError:
        return False
    except (Exception, HangError) as error:  # noqa: BLE001 -- each of them is the failure
        trace = "".join(traceback.format_exception(error)[-6:])
        pytest.fail(f"{name} raised {error!r}\n{message}\n{trace}")
    return True


def run_round(backend: Backend, api: str, component: str, seed: int) -> None:
    """Damage one key, make every call in some order, remove the key, and check that the service works."""
    choose = random.Random(seed)
    backend.flush()
    make = Maker(backend, api)
    try:
        site = FILLERS[component](make)
        with backend.client() as client:
            key = choose.choice(sorted(client.scan_iter(count=1000)))
            damage_key(client, key, choose)
            message = f"{component} {api} seed {seed}: {describe_key(client, key)}"
            calls = list(site.calls.items())
            choose.shuffle(calls)
            for name, call in calls:
                assert_call_survives(name, call, message)
            client.delete(key)
            for name, call in calls:
                assert_call_survives(f"{name} without the key", call, message)
            assert assert_call_survives("check", site.check, message), f"does not work again: {message}"
    finally:
        make.close()


@pytest.mark.parametrize("component", FILLERS)
@pytest.mark.parametrize(("api", "seeds"), [("blocking", (0, 1, 5009)), ("awaited", (4, 5, 5015))])
def test_a_damaged_key_never_gives_a_raw_error(fake: Backend, api: str, component: str, seeds: Iterable[int]) -> None:
    for seed in seeds:
        run_round(fake, api, component, seed)


@pytest.mark.exploration
@pytest.mark.parametrize("component", FILLERS)
@pytest.mark.parametrize(("api", "seeds"), [("blocking", range(1000, 1030)), ("awaited", range(2000, 2030))])
def test_many_damaged_keys_on_real_servers(real: Backend, api: str, component: str, seeds: Iterable[int]) -> None:
    for seed in seeds:
        run_round(real, api, component, seed)


@pytest.mark.parametrize(
    ("field", "value"), [("number", b"\xff"), ("number", b"9" * 5000), ("position", b"\xff"), ("attempts", b"x")]
)
def test_a_damaged_relay_is_corrupt_until_it_is_removed(make: Maker, field: str, value: bytes) -> None:
    relay = make("TransitionRelay", lambda _: None)
    relay.run_once()
    key = "er:{default:health0}:relay:default"
    with make.backend.client() as client:
        client.hset(key, field, value)
        with suppress(CorruptDataError):
            relay.run_once()
        client.hset(key, "delivered", b"\xff")
        assert relay.stats()["delivered"] == 0
        client.delete(key)
    assert relay.run_once() == 0


HUGE: Final = b"9" * 400


@pytest.mark.parametrize(
    ("field", "value", "call"),
    [
        ("n", HUGE, lambda metrics: metrics.summary()),
        ("ms", HUGE, lambda metrics: metrics.avg_latency_ms()),
        ("18", b"-1,0,0,0", lambda metrics: metrics.fraction_below(5.0)),
        ("18", HUGE, lambda metrics: metrics.percentile(50.0)),
        (HUGE, b"0,0,0,1", lambda metrics: metrics.percentile(50.0)),
        ("99999", b"0,0,0,1", lambda metrics: metrics.summary()),
        ("e", b"-1", lambda metrics: metrics.error_count()),
    ],
)
def test_counts_out_of_range_are_corrupt(make: Maker, field: Any, value: bytes, call: Any) -> None:
    metrics = make("EdgeMetrics")
    metrics.record(InvocationRecord("f", "n", 5.0, success=True))
    metrics.flush()
    with make.backend.client() as client:
        client.hset("er:{default:metrics0}:e:0:s:all", field, value)
    with pytest.raises(CorruptDataError):
        call(metrics)


@pytest.mark.parametrize("name", ["bytes", "hits"])
def test_damaged_statistics_of_a_cache_are_corrupt(make: Maker, name: str) -> None:
    cache = make("EdgeCache", max_bytes=1000)
    cache.put("a", 1)
    with make.backend.client() as client:
        client.hset("er:{default:cache0}:stats", name, b"x")
    with pytest.raises(CorruptDataError):
        cache.stats()
    if name == "hits":
        with pytest.raises(CorruptDataError):
            cache.hit_rate  # noqa: B018 -- a property that reads


def test_a_damaged_skew_of_a_node_is_corrupt(make: Maker) -> None:
    health = make("HealthMonitor", 60.0)
    health.register(EdgeNode("n", "n"))
    with make.backend.client() as client:
        client.hset("er:{default:health0}:node:n", "skew_ms", HUGE)
    with pytest.raises(CorruptDataError):
        health.check_node("n")


def test_the_folder_of_time_zones_is_no_time_zone() -> None:
    value = msgpack.unpackb(encode(BERLIN))
    text, fold, _ = msgpack.unpackb(value.data)
    for name in ("America", "Europe", "../etc", ""):
        body = msgpack.packb(msgpack.ExtType(value.code, msgpack.packb([text, fold, name])))
        with pytest.raises(CorruptDataError):
            decode(body)


@pytest.fixture
def fake() -> Backend:
    return Backend("fakeredis")
