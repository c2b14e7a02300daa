"""Bad arguments are refused with the right error, and nothing is written or buffered."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from conftest import Maker

from edge_redis import (
    CorruptDataError,
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTypeError,
    InvocationRecord,
    ServiceClosedError,
    StoreError,
    WrongKeyTypeError,
)
from support.metrics import TAG, dump, made

NAN, INF = float("nan"), float("inf")

BAD_IDS: list[tuple[Any, type[Exception]]] = [
    ("", InvalidKeyError),
    ("k" * 1025, InvalidKeyError),
    ("ü" * 513, InvalidKeyError),
    ("\ud800", InvalidKeyError),
    (1, InvalidTypeError),
    (b"k", InvalidTypeError),
    (["k"], InvalidTypeError),
    ({}, InvalidTypeError),
]

BAD_FIELDS: list[tuple[dict[str, Any], type[Exception]]] = [
    *(({name: value}, error) for name in ("function_id", "node_id") for value, error in BAD_IDS),
    ({"function_id": None}, InvalidTypeError),
    ({"node_id": None}, InvalidTypeError),
    ({"duration_ms": NAN}, InvalidArgumentError),
    ({"duration_ms": INF}, InvalidArgumentError),
    ({"duration_ms": -0.001}, InvalidArgumentError),
    ({"duration_ms": 1.1e10}, InvalidArgumentError),
    ({"duration_ms": 10**400}, InvalidArgumentError),
    ({"duration_ms": True}, InvalidTypeError),
    ({"duration_ms": "5"}, InvalidTypeError),
    ({"duration_ms": None}, InvalidTypeError),
    ({"success": 1}, InvalidTypeError),
    ({"success": None}, InvalidTypeError),
    ({"timestamp": 1.7e9}, InvalidTypeError),
    ({"timestamp": "2026-01-01"}, InvalidTypeError),
    ({"timestamp": None}, InvalidTypeError),
    ({"timestamp": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, InvalidArgumentError),
    ({"error": None}, InvalidTypeError),
    ({"error": b"x"}, InvalidTypeError),
    ({"error": "\ud800"}, InvalidArgumentError),
]

BAD_SETTINGS: list[tuple[dict[str, Any], type[Exception]]] = [
    *(
        ({name: value}, error)
        for name in ("flush_every", "max_recent", "max_series", "timeline_minutes")
        for value, error in (
            (-1, InvalidArgumentError),
            (10**9, InvalidArgumentError),
            (1.0, InvalidTypeError),
            (True, InvalidTypeError),
            ("1", InvalidTypeError),
            (None, InvalidTypeError),
        )
    ),
    *(({name: 0}, InvalidArgumentError) for name in ("flush_every", "max_series", "timeline_minutes")),
    *(({"flush_interval": value}, InvalidArgumentError) for value in (0, -1.0, NAN, INF, 1e9)),
    *(({"flush_interval": value}, InvalidTypeError) for value in (True, "1", None)),
    ({"namespace": ""}, InvalidKeyError),
    ({"namespace": "{a}"}, InvalidKeyError),
    ({"namespace": 5}, InvalidTypeError),
    ({"node_id": ""}, InvalidKeyError),
    ({"node_id": 5}, InvalidTypeError),
]

QUERIES = ("total_invocations", "success_rate", "avg_latency_ms", "error_count", "summary", "timeline")

BAD_RECORDS: list[Any] = [None, 5, {}, "r", [made()]]
CALLS: list[tuple[str, tuple[Any, ...], type[Exception]]] = [
    *(("percentile", (q,), InvalidArgumentError) for q in (-0.1, 100.1, NAN, INF, 10**400)),
    *(("percentile", (q,), InvalidTypeError) for q in (True, None, "50")),
    *((name, (value,), error) for name in QUERIES for value, error in BAD_IDS),
    *((name, (None, value), error) for name in QUERIES for value, error in BAD_IDS),
    *(("timeline", (None, None, minutes), InvalidArgumentError) for minutes in (0, -1, 1441)),
    *(("timeline", (None, None, minutes), InvalidTypeError) for minutes in (None, 1.0, True)),
    ("recent", (-1,), InvalidArgumentError),
    *(("recent", (limit,), InvalidTypeError) for limit in (None, 1.0, True, "1")),
    *(("track", (value,), error) for value, error in BAD_IDS),
    *(("track", ("f", value), error) for value, error in BAD_IDS),
    *(("record", (value,), InvalidTypeError) for value in BAD_RECORDS),
    *(("record_many", (value,), InvalidTypeError) for value in (None, 5, "r", b"r", made(), [made(), None])),
]  # fmt: skip


def broken(**fields: Any) -> InvocationRecord:
    whole: dict[str, Any] = {"function_id": "f", "node_id": "n", "duration_ms": 1.0, "success": True}
    return InvocationRecord(**{**whole, **fields})


@pytest.fixture(params=["blocking", "awaited"])
def make(request: pytest.FixtureRequest, servers: Any) -> Any:
    """One server is enough: nothing is sent."""
    maker = Maker(servers.backend("fakeredis"), request.param)
    yield maker
    maker.close()


def test_bad_records_are_refused_whole(make: Maker) -> None:
    metrics = make("EdgeMetrics", flush_every=1)
    metrics.record(made())  # now the ids are known, and the quick way of checking is taken
    with make.backend.client() as client:
        before = dump(client)
        for fields, error in BAD_FIELDS:
            with pytest.raises(error):
                metrics.record(broken(**fields))
            with pytest.raises(error):
                metrics.record_many([made(), broken(**fields)])
        metrics.flush()
        assert dump(client) == before


@pytest.mark.parametrize(("settings", "error"), BAD_SETTINGS, ids=repr)
def test_bad_settings_are_refused(make: Maker, settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        make("EdgeMetrics", **settings)


def test_bad_calls_are_refused_before_anything_is_sent(make: Maker) -> None:
    metrics = make("EdgeMetrics", flush_interval=3600.0)
    metrics.record(made())
    with make.backend.client() as client:
        for name, arguments, error in CALLS:
            with pytest.raises(error):
                getattr(metrics, name)(*arguments)
        assert dump(client) == {}
    assert metrics.total_invocations() == 1


class Name(enum.StrEnum):
    RESIZE = "resize"


class Plain(str, enum.Enum):  # noqa: UP042 -- the case
    NODE = "edge"


def test_ids_that_are_kinds_of_str_are_their_text(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    for _ in range(2):
        metrics.record(made(Name.RESIZE, Plain.NODE))
    assert metrics.total_invocations("resize", "edge") == metrics.total_invocations(Name.RESIZE, Plain.NODE) == 2
    found = metrics.recent()
    assert [(record.function_id, record.node_id) for record in found] == [("resize", "edge")] * 2
    assert {type(record.node_id) for record in found} == {str}


def test_a_closed_one_is_closed(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    metrics.close()
    metrics.close()
    for name, arguments in (("record", (made(),)), ("record_many", ([],)), ("flush", ()), ("summary", ())):
        with pytest.raises(ServiceClosedError):
            getattr(metrics, name)(*arguments)


PLANTED = ["epoch", "flushes:{half_day}", "e:0:pairs", "e:0:recent", "e:0:meta", "e:0:s:all", "e:0:s:f:f",
           "e:0:s:n:n", "e:0:s:p:1:fn", "e:0:t{hour}:n:n"]  # fmt: skip


@pytest.mark.parametrize("key", PLANTED)
def test_a_key_of_another_type_fails_the_flush_with_nothing_written(backend: Any, key: str) -> None:
    maker = Maker(backend, "blocking")
    with backend.client() as client:
        seconds = int(client.time()[0])
        name = f"{TAG}:{key.format(half_day=seconds // 43_200, hour=seconds // 3600)}"
        client.lpush(name, "x")
        before = dump(client)
        metrics = maker("EdgeMetrics", flush_interval=3600.0)
        metrics.record(made(timestamp=datetime.fromtimestamp(seconds, UTC)))
        for _ in range(2):
            with pytest.raises(WrongKeyTypeError):
                metrics.flush()
            assert dump(client) == before
        client.delete(name)
        assert metrics.total_invocations() == 1  # it was kept
        client.lpush(f"{TAG}:retired", "x")
        with pytest.raises(WrongKeyTypeError):
            metrics.reset()
        assert metrics.total_invocations() == 1
    maker.close()


NO_COUNTS = ["abc", "", "1.5", "\udcff", "-1", "null,0,0,0", "[1],0,0,0", "nan,0,0,0", "9223372036854775807,0,0,0"]


@pytest.mark.parametrize("text", NO_COUNTS)
@pytest.mark.parametrize(("key", "field"), [("s:all", "n"), ("s:f:f", "ms"), ("s:all", "-1"), ("meta", "recent")])
def test_a_field_that_is_no_number_fails_the_flush_with_nothing_written(
    backend: Any, key: str, field: str, text: str
) -> None:
    maker = Maker(backend, "blocking")
    with backend.client() as client:
        client.hset(f"{TAG}:e:0:{key}", field, text.encode(errors="surrogateescape"))
        before = dump(client)
        metrics = maker("EdgeMetrics", flush_interval=3600.0)
        metrics.record(made())
        with pytest.raises(CorruptDataError):
            metrics.flush()
        assert dump(client) == before
        client.hdel(f"{TAG}:e:0:{key}", field)
        assert metrics.summary()["total"] == 1
    maker.close()


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5"])
def test_a_group_of_buckets_with_another_number_of_counts_is_corrupt(make: Maker, text: str) -> None:
    metrics = make("EdgeMetrics")
    with make.backend.client() as client:
        client.hset(f"{TAG}:e:0:s:all", "-1", text)
        with pytest.raises(CorruptDataError):
            metrics.percentile(50)


def break_count(client: Any) -> None:
    client.hset(f"{TAG}:e:0:s:all", "n", "x")


def replace_pairs(client: Any) -> None:
    client.delete(f"{TAG}:e:0:pairs")
    client.set(f"{TAG}:e:0:pairs", "x")


def replace_start(client: Any) -> None:
    client.set(f"{TAG}:since", "x")


@pytest.mark.parametrize("damage", [break_count, replace_pairs, replace_start])
def test_a_reset_ends_what_damaged_counts_refuse(make: Maker, damage: Callable[[Any], None]) -> None:
    metrics = make("EdgeMetrics", flush_interval=3600.0)
    metrics.record(made())
    metrics.flush()
    with make.backend.client() as client:
        damage(client)
        metrics.record(made("new"))
        with pytest.raises((CorruptDataError, WrongKeyTypeError)):
            metrics.flush()
        metrics.reset()
        assert (metrics.total_invocations(), metrics.series()) == (1, [("new", "n")])
        assert not client.exists(f"{TAG}:e:0:pairs", f"{TAG}:e:0:s:all")


def test_a_reset_removes_names_of_pairs_that_are_damaged(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    metrics.record(made())
    metrics.flush()
    with make.backend.client() as client:
        client.sadd(f"{TAG}:e:0:pairs", b"junk", b"99:x", b"\xff")
        metrics.reset()
        assert list(client.scan_iter(match=f"{TAG}:e:0:*")) == []


def test_a_damaged_record_of_the_last_flush_is_replaced(make: Maker) -> None:
    metrics = make("EdgeMetrics", flush_interval=3600.0)
    metrics.record(made())
    metrics.flush()
    with make.backend.client() as client:
        for key in client.scan_iter(match=f"{TAG}:flushes:*"):
            for field in client.hkeys(key):
                client.hset(key, field, b"\xff")
    metrics.record(made())
    assert metrics.total_invocations() == 2


def test_bytes_that_do_not_decode_are_said_to_be_corrupt(backend: Any) -> None:
    maker = Maker(backend, "blocking")
    with backend.client() as client:
        metrics = maker("EdgeMetrics")
        client.xadd(f"{TAG}:e:0:recent", {"c": 1, "r": b"\xc1"})
        client.sadd(f"{TAG}:e:0:pairs", b"x")
        client.hset(f"{TAG}:e:0:s:all", b"\xff", b"\xff")
        before = dump(client)
        for call in (metrics.recent, metrics.series, metrics.summary):
            with pytest.raises(CorruptDataError):
                call()
        client.hset(f"{TAG}:e:0:s:f:f", "n", "1 2")
        with pytest.raises(CorruptDataError):
            metrics.total_invocations("f")
        client.delete(f"{TAG}:e:0:s:f:f")
        client.set(f"{TAG}:epoch", b"\xff")
        with pytest.raises(CorruptDataError):
            metrics.reset()
        client.delete(f"{TAG}:epoch")
        assert dump(client) == before
    maker.close()


def test_a_server_that_is_down_says_so_and_nothing_is_lost(servers: Any) -> None:
    maker = Maker(servers.backend("fakeredis"), "blocking")
    metrics = maker("EdgeMetrics", flush_every=3, flush_interval=3600.0)
    maker.backend.fake.connected = False
    for _ in range(100):
        metrics.record(made())  # never raises
    for call in (metrics.flush, metrics.summary, metrics.recent, metrics.timeline, metrics.reset, metrics.close):
        with pytest.raises(StoreError):
            call()
    maker.backend.fake.connected = True
    assert metrics.total_invocations() == 100
    assert len(metrics.recent()) == 100
    maker.close()


def test_flush_every_one_says_that_the_server_is_down_and_counts_the_record_later(servers: Any) -> None:
    for api in ("blocking", "awaited"):
        maker = Maker(servers.backend("fakeredis"), api)
        metrics = maker("EdgeMetrics", flush_every=1, flush_interval=3600.0)
        maker.backend.fake.connected = False
        for _ in range(2):
            with pytest.raises(StoreError):
                metrics.record(made())
        maker.backend.fake.connected = True
        metrics.record(made())
        assert metrics.total_invocations() == 3
        maker.close()
