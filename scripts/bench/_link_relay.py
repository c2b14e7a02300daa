"""A link with few bytes: a TCP relay, in a process of its own, that counts, delays, limits and cuts.

The process reads one JSON object a line and answers each with one: the bytes that went up and down since it began.
``delay`` is seconds one way, ``rate`` bytes a second each way (0: no limit), ``is_cut`` closes all connections and
makes no others.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

_CHUNK: Final = 1400  # bytes, about a packet: a limited link passes small pieces


@dataclass(frozen=True)
class Traffic:
    """Bytes from the edge to the cloud, and back."""

    up: int
    down: int

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.up - other.up, self.down - other.down)


class Link:
    """A context in which ``port`` leads to a port of this machine, by a relay."""

    def __init__(self, target: int) -> None:
        self._target = target

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._read()["port"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def set(self, **settings: float | bool) -> Traffic:
        """Change settings of the link; return the bytes so far."""
        assert self._process.stdin is not None
        print(json.dumps(settings), file=self._process.stdin, flush=True)
        found = self._read()
        return Traffic(found["up"], found["down"])

    def count(self) -> Traffic:
        """Return the bytes so far."""
        return self.set()

    def _read(self) -> dict[str, int]:
        assert self._process.stdout is not None
        found: dict[str, int] = json.loads(self._process.stdout.readline())
        return found


@dataclass
class _Relay:
    target: int
    delay: float = 0.0
    rate: float = 0.0
    is_cut: bool = False
    passed: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    free_at: dict[str, float] = field(default_factory=lambda: {"up": 0.0, "down": 0.0})
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.close()
            return
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        self.writers |= {writer, there}
        try:
            await asyncio.gather(self._copy("up", reader, there), self._copy("down", there_reader, writer))
        finally:
            for each in (writer, there):
                self.writers.discard(each)
                each.close()

    async def _copy(self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arriving: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        self._start(self._deliver(arriving, writer))
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK if self.rate else 65536):
                at = loop.time()
                if self.rate:
                    self.free_at[way] = max(at, self.free_at[way]) + len(data) / self.rate
                    at = self.free_at[way]
                    await asyncio.sleep(at - loop.time())
                self.passed[way] += len(data)
                await arriving.put((at + self.delay, data))
        await arriving.put((0.0, b""))

    async def _deliver(self, arriving: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while True:
                at, data = await arriving.get()
                if not data:
                    break
                if (wait := at - loop.time()) > 0:
                    await asyncio.sleep(wait)
                writer.write(data)
                await writer.drain()
        writer.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def change(self, settings: dict[str, Any]) -> None:
        for name, value in settings.items():
            setattr(self, name, value)
        if self.is_cut:
            for writer in [*self.writers]:
                writer.transport.abort()


async def _main(target: int) -> None:
    relay = _Relay(target)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        relay.change(json.loads(line))
        print(json.dumps(relay.passed), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
