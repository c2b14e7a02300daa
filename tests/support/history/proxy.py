"""A TCP proxy of many links, each of which can be held up, made a black hole, or cut in mid-reply, at run time.

All links are served by one thread. What a link does is in its attributes, which any thread may
set; what it does to connections that are open takes effect with their next bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from types import TracebackType
from typing import Self

CHUNK = 65536


class Link:
    """One port of this machine, reached through a port of the proxy's."""

    def __init__(self, name: str, upstream: int, seed: int) -> None:
        self.name = name
        self.upstream = upstream
        self.port = 0
        self.counts: Counter[str] = Counter()
        self.delay = 0.0
        """Seconds that each piece of a request or reply is held up."""
        self.lost_requests = self.lost_replies = self.cut_replies = 0.0
        """How often a request does not arrive, a reply does not, or half of a reply does; the connection ends then."""
        self.hole = False
        """Whether nothing comes through, and no connection is closed."""
        self._pick = random.Random(seed)

    def _is_down(self) -> bool:
        return self.hole

    def heal(self) -> None:
        """Let everything through."""
        self.delay = self.lost_requests = self.lost_replies = self.cut_replies = 0.0
        self.hole = False

    def _happens(self, chance: float, what: str) -> bool:
        happens = chance > 0 and self._pick.random() < chance
        self.counts[what] += happens
        return happens

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.close()
            return
        ways = [
            asyncio.ensure_future(self._carry(reader, server_writer, is_reply=False)),
            asyncio.ensure_future(self._carry(server_reader, writer, is_reply=True)),
        ]
        with contextlib.suppress(asyncio.CancelledError):  # the proxy ends
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, server_writer):
            end.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reply: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self.delay:
                    self.counts["pieces held up"] += 1
                    await asyncio.sleep(self.delay)
                if self.hole:
                    self.counts["pieces swallowed"] += 1
                    while self._is_down():  # noqa: ASYNC110 -- set by another thread. Bytes were lost: the connection ends
                        await asyncio.sleep(0.02)
                    return
                if not is_reply and self._happens(self.lost_requests, "requests lost"):
                    return
                if is_reply and self._happens(self.lost_replies, "replies lost"):
                    return
                if is_reply and self._happens(self.cut_replies, "replies cut in the middle"):
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    return
                writer.write(data)
                await writer.drain()


class Proxy:
    """The links of an experiment, by name."""

    def __init__(self, upstreams: dict[str, int], seed: int) -> None:
        self.links = {name: Link(name, port, seed + number) for number, (name, port) in enumerate(upstreams.items())}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        servers = [self._loop.run_until_complete(self._listen(link)) for link in self.links.values()]
        self._ready.set()
        self._loop.run_forever()
        for server in servers:
            server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))  # transports close in the round after
        self._loop.close()

    async def _listen(self, link: Link) -> asyncio.AbstractServer:
        server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
        link.port = server.sockets[0].getsockname()[1]
        return server

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def heal(self) -> None:
        for link in self.links.values():
            link.heal()

    @property
    def counts(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for link in self.links.values():
            total.update(link.counts)
        return total
