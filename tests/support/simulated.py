"""Servers for simulations: what one answers follows from what it was sent, and no answer need be computed twice.

A simulated server is its contents and the time that it says it is. A fakeredis computes what a command makes of
them. Its clock stands still but for ``tick`` microseconds a command, and moves where somebody lets time pass.

Exploring a scenario sends the same commands to the same contents over and over. While ``remembering()`` is on, the
answer and the contents after it are looked up where they are known.
"""

from __future__ import annotations

import io
import itertools
import pickle
import time
import weakref
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import fakeredis
import redis
from fakeredis import _helpers
from fakeredis._socket import _base
from fakeredis.commands_mixins import server_mixin
from fakeredis.model import _stream
from redis import exceptions as redis_errors
from redis._parsers import Encoder

from support.turns import turns

START = 1_800_000_000_000_000
"""Microseconds since 1970, a time like any other."""

MOST_REMEMBERED = 3_000_000


class _Clock:
    """Stands in for the ``time`` module in fakeredis while a command runs."""

    now = START

    def time(self) -> float:
        return self.now / 1e6

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


_clock = _Clock()
_TELLING_TIME: tuple[Any, ...] = (_helpers, _base, server_mixin, _stream)


@contextmanager
def _at(now: int) -> Iterator[None]:
    before = [module.time for module in _TELLING_TIME]
    _clock.now = now
    for module in _TELLING_TIME:
        module.time = _clock
    try:
        yield
    finally:
        for module, own in zip(_TELLING_TIME, before, strict=True):
            module.time = own


def _stream_of(attributes: dict[str, Any]) -> Any:
    stream = _stream.XStream.__new__(_stream.XStream)
    stream.__dict__.update(attributes)
    for group in stream._groups.values():
        group.stream = stream
    return stream


def _group_of(attributes: dict[str, Any]) -> Any:
    group = _stream.StreamGroup.__new__(_stream.StreamGroup)
    group.__dict__.update(attributes)
    return group


class _Pickler(pickle.Pickler):
    """Writes equal contents as equal bytes: without references, and so without the group's one to its stream."""

    def reducer_override(self, each: Any) -> Any:
        if type(each) is _stream.XStream:
            return _stream_of, (each.__dict__,)
        if type(each) is _stream.StreamGroup:
            return _group_of, ({name: value for name, value in each.__dict__.items() if name != "stream"},)
        return NotImplemented


def _dumped(items: list[Any]) -> bytes:
    file = io.BytesIO()
    pickler = _Pickler(file, 5)
    pickler.fast = True
    pickler.dump(items)
    return file.getvalue()


_EMPTY = _dumped([])


class _Lua:
    """A Lua runtime that compiles a script once, and collects its garbage when it likes."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._compiled: dict[bytes | str, Any] = {}

    def execute(self, source: bytes | str) -> Any:
        if source == "collectgarbage()":
            return None
        if source not in self._compiled:
            self._compiled[source] = self._runtime.compile(source)
        return self._compiled[source]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)


class _Machine:
    """A fakeredis that computes for one simulated server at a time."""

    def __init__(self) -> None:
        self.fake = fakeredis.FakeServer()
        self._client: Any = fakeredis.FakeRedis(server=self.fake)
        self._client.eval("return 1", 0)  # connects now: the client library draws random names too
        self._connection: Any = self._client.connection_pool.get_connection()
        fake: Any = self.fake  # the stubs do not know the runtime
        fake._lua_runtime = _Lua(fake._lua_runtime)
        self.holder: Any = lambda: None

    def execute(self, words: tuple[Any, ...], options: dict[str, Any]) -> Any:
        self._connection.send_command(*words)
        return self._client.parse_response(self._connection, words[0], **options)

    def dump(self) -> bytes:
        return _dumped(sorted(self.fake.dbs[0]._dict.items()))

    def load(self, contents: bytes) -> None:
        items = pickle.loads(contents)
        database = self.fake.dbs[0]
        database._dict = dict(items)
        # The server's own still has what it planned of keys that are gone.
        database._expiry_heap = sorted((item.expireat, key) for key, item in items if item.expireat is not None)


_machines = itertools.cycle([_Machine() for _ in range(4)])


class _Memory:
    """Contents by number, and what each command did to them."""

    def __init__(self) -> None:
        self.is_on = False
        self.forget()

    def forget(self) -> None:
        self.numbers: dict[tuple[int, bytes], int] = {}
        self.contents: list[tuple[int, bytes]] = []
        self.answers: dict[Hashable, tuple[Any, BaseException | None, int, int]] = {}
        self.texts: dict[str, int] = {}

    def number(self, now: int, contents: bytes) -> int:
        found = self.numbers.setdefault((now, contents), len(self.contents))
        if found == len(self.contents):
            self.contents.append((now, contents))
        return found

    def text(self, reply: object) -> int:
        return self.texts.setdefault(repr(reply), len(self.texts))


_memory = _Memory()


@contextmanager
def remembering() -> Iterator[None]:
    """Compute no answer twice until the end of this."""
    was, _memory.is_on = _memory.is_on, True
    try:
        yield
    finally:
        _memory.is_on = was
        if not was and len(_memory.answers) > MOST_REMEMBERED:
            _memory.forget()


class SimulatedServer:
    """One server. ``ahead`` is how many seconds its clock is ahead of the others'."""

    def __init__(self, ahead: float = 0, tick: int = 0) -> None:
        self.now = START + round(ahead * 1_000_000)
        self._tick = tick
        self._machine = next(_machines)
        self._contents: bytes | None = _EMPTY
        """None while the machine holds them."""
        self._number: int | None = None

    def pass_time(self, seconds: float) -> None:
        self._keep()
        self.now += round(seconds * 1_000_000)
        self._number = None

    def copy_from(self, other: SimulatedServer) -> None:
        """Take over another server's contents, as a copy of its disk image would."""
        self._keep()
        self._contents, self._number = other._kept(), None

    @property
    def state(self) -> int:
        """The number of its contents and its time: equal for equal ones."""
        if self._number is None:
            self._number = _memory.number(self.now, self._kept())
        return self._number

    def _kept(self) -> bytes:
        self._keep()
        assert self._contents is not None
        return self._contents

    def _keep(self) -> None:
        if self._contents is None:
            self._contents = self._machine.dump()

    def _move_in(self) -> None:
        holder = self._machine.holder()
        if holder is self and self._contents is None:
            return
        if holder is not None and holder is not self:
            holder._keep()
        self._machine.load(self._kept())
        self._machine.holder = weakref.ref(self)

    def _compute(self, words: tuple[Any, ...], options: dict[str, Any]) -> Any:
        self._move_in()
        self._contents = self._number = None
        try:
            with _at(self.now):
                return self._machine.execute(words, options)
        finally:
            self.now += self._tick

    def perform(self, words: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if not _memory.is_on:
            return self._compute(words, options)
        key = (self.state, self._tick, words, *options.items())
        found = _memory.answers.get(key) or self._learn(key, words, options)
        reply, error, self._number, heard = found
        self.now, self._contents = _memory.contents[self._number]
        turns.hear(heard)
        if error is not None:
            raise error.with_traceback(None)
        return reply

    def _learn(self, key: Hashable, words: tuple[Any, ...], options: dict[str, Any]) -> Any:
        reply, error = None, None
        try:
            reply = self._compute(words, options)
        except redis_errors.RedisError as raised:
            error = raised
        found = reply, error, self.state, _memory.text((reply, error))
        _memory.answers[key] = found
        return found


class _Pipeline:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._calls: list[tuple[Any, ...]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.clear()

    def execute_command(self, *words: Any) -> None:
        self._calls.append(words)

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        return [self._one(words) for words in self._calls]

    def _one(self, words: tuple[Any, ...]) -> Any:
        try:
            return self._client.execute_command(*words)
        except redis_errors.RedisError as error:
            return error


class Client(redis.Redis):
    """A client of a simulated server: without a connection, and so made in no time."""

    def __init__(self, server: SimulatedServer) -> None:
        self._server = server

    def execute_command(self, *words: Any, **options: Any) -> Any:
        return self._server.perform(words, options)

    def pipeline(self, transaction: bool = False, shard_hint: Any = None) -> Any:  # noqa: FBT001, FBT002 -- as redis-py has it
        assert not transaction
        return _Pipeline(self)

    def get_encoder(self) -> Any:
        return _ENCODER

    def close(self) -> None:
        """Nothing is open."""


_ENCODER = Encoder("utf-8", "strict", decode_responses=False)  # type: ignore[no-untyped-call] # redis-py's
