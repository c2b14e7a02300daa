"""Targets that are services on fakeredis: damaged replies and keys, and arguments of any kind."""

from __future__ import annotations

import inspect
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from unittest import mock

from conftest import Maker

from edge_redis import (
    ConflictStrategy,
    EdgeNode,
    EdgeRedisError,
    InvalidArgumentError,
    InvalidTypeError,
    InvocationRecord,
    SyncState,
)
from edge_redis._core.operation import Operation
from edge_redis._io import asyncio_runner, blocking_runner, replies
from support.damage import damage_bytes, damage_key
from support.filled_services import FILLERS
from support.fuzzing.target import Run, Target
from support.servers import Backend

APIS: Final = ("blocking", "awaited")
COMPONENTS: Final = tuple(FILLERS)

NAIVE: Final = datetime(2026, 1, 2, tzinfo=UTC).replace(tzinfo=None)
FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
LAST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

ODD_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 2**63, 2**70, -(2**70), 0.5, 1e308, float("nan"), float("inf"), "", "a", "n1", "s",
    "f0",
    "\ud800", "a\0b", "x" * 1025, "}{", "*", "er:{default:cache0}:v:when", "☃" * 400, b"", b"\xff", b"x" * 2000, [],
    ["a"],
    ["a", 1], [None], {}, {"a": 1}, {1: 2}, {"a": object()}, {"\ud800": 1}, {"a": {"b": [1] * 5}}, (), ("a", "b"),
    set(),
    object(), int, len, timedelta(-1), timedelta(0), timedelta.max, NAIVE, LAST, FIRST,
    EdgeNode("n1", "first"), EdgeNode("", ""), EdgeNode("odd", "\ud800", metadata={"a": object()}),
    InvocationRecord("f0", "n", 1.0, success=True), InvocationRecord("", "n", -1.0, success=True),
    [InvocationRecord("f0", "n", float("nan"), success=True)], SyncState.from_data({"a": 1}, 5),
    SyncState(5, {"a": 1}, "0" * 64, LAST), SyncState(2**70, {}, "", NAIVE),
    ConflictStrategy.MERGE,
    "merge", ConflictStrategy.LOCAL_WINS, "5-0", "-", "0-1", "18446744073709551616-0",
)  # fmt: skip
"""Values that a caller may give in place of what is asked for."""

_NEST: Final = 1100
"""Levels to which replies are nested: more than Python recurses."""


def damage_reply(reply: Any, choose: random.Random) -> Any:
    """Return another reply: one value of it is changed, left out, repeated, or of another type."""
    if isinstance(reply, list) and reply and choose.random() < 0.8:
        at, kind = choose.randrange(len(reply)), choose.randrange(6)
        if kind == 0:
            return reply[:at] + reply[at + 1 :]
        if kind == 1:
            return [*reply[:at], reply[at], *reply[at:]]
        return [*reply[:at], damage_reply(reply[at], choose), *reply[at + 1 :]]
    kind = choose.randrange(4)
    if kind == 0 or not isinstance(reply, (bytes, int)):
        nested: Any = b"x"
        for _ in range(choose.choice((1, 2, _NEST))):
            nested = [nested]
        return choose.choice(
            (None, -1, 2**63 - 1, b"", b"OK", b"\xff", [], [b"", b""], {}, {b"a": b"b"}, 1.5, True, nested)
        )
    if isinstance(reply, bytes):
        return damage_bytes(reply, choose)
    return choose.choice((reply + 1, -reply, 0, -1, 2**63 - 1, str(reply).encode()))


class _Damage:
    """Damages replies as the runners decode them: one of a call, or all."""

    def __init__(self) -> None:
        self._decode: Any = replies.decode
        self.choose: random.Random | None = None
        self.at = 0
        self.is_lasting = False

    def decode(self, operation: Operation[Any], reply: Any) -> Any:
        if self.choose is not None:
            self.at -= 1
            if self.at < 0:
                reply = damage_reply(reply, self.choose)
                if not self.is_lasting:
                    self.choose = None
        return self._decode(operation, reply)


@contextmanager
def open_replies() -> Iterator[Run]:
    """Give the run: the first bytes choose component, API, call and reply."""
    damage = _Damage()
    with (
        mock.patch.object(replies, "decode", damage.decode),
        mock.patch.object(blocking_runner, "decode", damage.decode),
        mock.patch.object(asyncio_runner, "decode", damage.decode),
    ):
        makers: list[Maker] = []
        known: dict[tuple[str, str], list[Callable[[], object]]] = {}

        def find_calls(api: str, component: str) -> list[Callable[[], object]]:
            if (api, component) not in known:
                makers.append(Maker(Backend("fakeredis"), api))
                makers[-1].backend.flush()
                known[api, component] = list(FILLERS[component](makers[-1]).calls.values())
            return known[api, component]

        def run(data: bytes) -> None:
            choose = random.Random(data)
            damage.choose = None
            calls = find_calls(APIS[choose.randrange(2)], choose.choice(COMPONENTS))
            call = choose.choice(calls)
            damage.choose, damage.at, damage.is_lasting = choose, choose.choice((0, 0, 0, 1, 2)), choose.random() < 0.2
            try:
                call()
            finally:
                damage.choose = None

        try:
            yield run
        finally:
            for maker in makers:
                maker.close()


def _numbers() -> Sequence[bytes]:
    return [b"%d" % number for number in range(8)]


@contextmanager
def open_keys() -> Iterator[Run]:
    """Give the run: a key of a component is damaged, then each call is made in some order."""

    def run(data: bytes) -> None:
        choose = random.Random(data)
        backend, api = Backend("fakeredis"), choose.choice(APIS)
        backend.flush()
        make = Maker(backend, api)
        try:
            site = FILLERS[choose.choice(COMPONENTS)](make)
            with backend.client() as client:
                for _ in range(choose.choice((1, 1, 3))):
                    damage_key(client, choose.choice(sorted(client.scan_iter(count=1000))), choose)
            calls = list(site.calls.values())
            choose.shuffle(calls)
            for call in calls:
                try:
                    call()
                except EdgeRedisError:
                    continue
        finally:
            make.close()

    yield run


SERVICES: Final[dict[str, dict[str, Any]]] = {
    "EdgeCache": {"flush_every": 1},  # so that nothing is written in the background
    "HealthMonitor": {},
    "EdgeMetrics": {"flush_every": 1},
    "EdgeSynchronizer": {},
    "RedisCloudStore": {},
}

_LASTING: Final = frozenset(
    ["watch", "run", "start", "changes", "close", "stop", "aclose", "listen", "hints", "count_bytes"]
)
"""Methods that go on, or end the service, or that a worker gives its own objects."""


@contextmanager
def open_arguments() -> Iterator[Run]:
    """Give the run: a public method with odd arguments; what it refuses may have written nothing."""
    backend = Backend("fakeredis")
    makers = {api: Maker(backend, api) for api in APIS}
    backend.flush()
    services = [makers[api](name, **options) for api, (name, options) in itertools.product(APIS, SERVICES.items())]
    services[0].put_many({"a": 1, "k": [1]}, tags=("a",))
    services[1].register(EdgeNode("n1", "first"))
    services[2].record(InvocationRecord("f0", "n", 1.0, success=True))
    services[3].update_local({"a": 1})
    services[4].update("s", {"a": 1})
    with backend.client() as client:

        def run(data: bytes) -> None:
            choose = random.Random(data)
            service = choose.choice(services)
            function = choose.choice(_find_methods(service))
            _call_with_odd_arguments(client, service, function, choose)

        try:
            yield run
        finally:
            for maker in makers.values():
                maker.close()


def _find_methods(service: Any) -> list[Any]:
    members = vars(type(getattr(service, "_target", service)))
    return [
        value
        for name, value in members.items()
        if not name.startswith("_") and inspect.isfunction(value) and name not in _LASTING
    ]


def _call_with_odd_arguments(client: Any, service: Any, function: Any, choose: random.Random) -> None:
    arguments = _make_arguments(function, choose)
    before = _read_all_keys(client)
    try:
        getattr(service, function.__name__)(**arguments)
    except (InvalidArgumentError, InvalidTypeError):
        after = _read_all_keys(client)
        changed = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
        assert not changed, f"{function.__name__}({arguments}) was refused and wrote {changed}"
        raise
    except EdgeRedisError:
        raise
    except Exception as error:
        raise AssertionError(f"{function.__name__}({arguments}): {error!r}") from error


def _make_arguments(function: Any, choose: random.Random) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        is_named = parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if is_named and (parameter.default is parameter.empty or choose.random() < 0.4):
            arguments[parameter.name] = choose.choice(ODD_VALUES)
    return arguments


def _read_all_keys(client: Any) -> dict[bytes, object]:
    readers: dict[bytes, Callable[[bytes], object]] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    return {key: readers[client.type(key)](key) for key in client.scan_iter(count=10_000)}


SERVICE_TARGETS: Final = (
    Target("damaged-replies", open_replies, _numbers, 100, 400),
    Target("damaged-keys", open_keys, _numbers, 1, 1000),
    Target("arguments", open_arguments, _numbers, 40, 400),
)
