"""One connection to a server that all tasks of an event loop share.

What tasks ask for while requests are under way is written together, and replies are given out in the order
of the requests (``pipeline``). redis-py connects, logs in and keeps the connection in its pool; from then on its
transport belongs to this module, which packs and parses by itself. A cancelled caller disturbs nobody: its reply is
read and dropped. The connection is closed only if nothing arrives for the client's ``socket_timeout`` although
replies are due, if it is cut, or if its bytes make no sense. Before it is used after a pause it is checked as
redis-py does, and made anew where its Sentinel has named another master.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import math
from typing import Any, Final
from weakref import ref

from redis import exceptions as redis_errors

from edge_redis._io.asyncio_pool import SHARED, enter_loop
from edge_redis._io.asyncio_sources import PoolSource, Source
from edge_redis._io.call_pool import WAIT_SECONDS
from edge_redis._io.command_sender import Args, FinalError
from edge_redis._io.error_mapping import queue_full_error
from edge_redis._io.handshake import UNREADABLE
from edge_redis._io.pipeline import Pipeline, Request
from edge_redis._io.resp import INCOMPLETE, Reader, count_bytes, is_push, make_reader, pack

LARGE_BYTES: Final = 64 * 1024
"""A request or reply with more bytes goes over a connection of its own, so that small ones do not wait for it."""

_LARGE_KEYS: Final = 1024
"""So many keys with large replies are remembered."""

_TICK_SECONDS: Final = 0.5
"""How often, at the longest, the ages of requests are looked at while there are any."""


def key_of(args: Args) -> Any:
    """Return what identifies a command whose reply was large when it is sent again."""
    return args[1:4:2]  # the key; of EVALSHA the script and its first key


def find_shared(pool: Any) -> SharedConnection:
    """Return the shared connection of ``pool`` in the running event loop.

    Raises:
        ClientConfigurationError: the pool is bound to another loop that is still open.

    """
    enter_loop(pool)
    known = pool.__dict__.get(SHARED)
    if known is None:
        known = pool.__dict__[SHARED] = SharedConnection(PoolSource(pool))
    shared: SharedConnection = known
    return shared


class _Receiver(asyncio.Protocol):
    """Stands before redis-py's protocol of a transport, and passes on everything but the bytes.

    It does not keep the connection alive: a client that is dropped is collected, with its connections.
    """

    def __init__(self, shared: SharedConnection, streams: Any) -> None:
        self._shared = ref(shared)
        self._streams = streams
        self.pause_writing = streams.pause_writing  # type: ignore[method-assign]
        self.resume_writing = streams.resume_writing  # type: ignore[method-assign]

    def data_received(self, data: bytes) -> None:
        """Give bytes to the shared connection."""
        shared = self._shared()
        if shared is not None:
            shared.receive(self, data)

    def eof_received(self) -> bool | None:
        """Note that the server has closed the connection."""
        self._lose("the server has closed the connection")
        return bool(self._streams.eof_received())

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the connection is closed."""
        self._streams.connection_lost(error)
        self._lose(f"the connection was closed: {error}" if error else "the connection was closed")

    def _lose(self, text: str) -> None:
        shared = self._shared()
        if shared is not None:
            shared.lose(self, text)


class SharedConnection:
    """A connection and the requests of all tasks on it."""

    def __init__(self, source: Source) -> None:
        self.loop = asyncio.get_running_loop()
        self.large: dict[Any, None] = {}
        """Keys whose last reply was large."""
        self._source = source
        self._pipeline = Pipeline()
        self._connection: Any = None
        self._transport: Any = None
        """Set while the connection can be written to."""
        self._receiver: _Receiver | None = None
        self._reader: Reader
        self._preparing: asyncio.Task[None] | None = None
        self._is_flush_due = self._is_outdated = False
        self._tick_at = self._received_at = -math.inf
        self._reply_bytes = 0

    @property
    def retry(self) -> Any:
        """The retry of the client, as redis-py has set it up for a connection; None before there was one."""
        return None if self._connection is None else self._connection.retry

    def request(self, data: bytes, commands: int | None = None, tag: Any = None) -> asyncio.Future[Any]:
        """Send packed commands, now or with the next batch.

        The result is the reply, or with ``commands`` the list of as many replies; or an exception: of redis-py,
        or a ``FinalError`` where no connection could be made, which was already tried again.
        """
        future, now = self.loop.create_future(), self.loop.time()
        if self._tick_at <= now:
            self._tick_later(now)
        self._pipeline.add(Request(data, future, now, commands, tag))
        if not self._is_flush_due:
            if self._pipeline.sent:
                self._flush_soon()
            else:
                self._flush()
        return future

    def _flush_soon(self) -> None:
        """Write after the callbacks that are due now: their requests go along."""
        self.loop.call_soon(self._flush)
        self._is_flush_due = True

    def _flush(self) -> None:
        self._is_flush_due = False
        pipeline, now = self._pipeline, self.loop.time()
        if self._is_preparing or not (pipeline.waiting or pipeline.sent):
            return
        if self._transport is None or not (pipeline.sent or self._is_ready(now)):
            self._preparing = self.loop.create_task(self._prepare())
            return
        if self._is_outdated:
            return
        try:
            while data := pipeline.next_batch(now):
                self._transport.write(data)
        except BaseException:  # an interruption: what is noted as written may not have been
            self.lose(self._receiver, "an interruption while writing")
            raise

    @property
    def _is_preparing(self) -> bool:
        return self._preparing is not None and not self._preparing.done()

    def receive(self, receiver: _Receiver, data: bytes) -> None:
        """Give out the replies that ``data`` completes."""
        if receiver is not self._receiver:
            return
        try:
            replies = self._give_out(data)
        except (redis_errors.InvalidResponse, *UNREADABLE) as error:
            self.lose(receiver, f"the replies cannot be read: {error}")
            return
        except BaseException:  # an interruption: a reply may have been read and not been given to its caller
            self.lose(receiver, "an interruption while reading")
            raise
        if (replies > 1 or self._pipeline.waiting) and not self._is_flush_due:
            self._flush_soon()

    def _give_out(self, data: bytes) -> int:
        reader, pipeline, replies = self._reader, self._pipeline, 0
        self._received_at = self.loop.time()
        self._reply_bytes += len(data)
        reader.feed(data)
        while (reply := reader.gets()) is not INCOMPLETE:
            if is_push(reply):
                continue
            if isinstance(reply, redis_errors.ReadOnlyError):
                reply = self._note_read_only(reply)
            request = pipeline.receive(reply)
            if self._reply_bytes > LARGE_BYTES:
                self._note_large(request, reply)
            self._reply_bytes = 0
            replies += 1
        return replies

    def _note_read_only(self, error: redis_errors.ReadOnlyError) -> Exception:
        """Leave a master that Sentinels have made a replica: what was asked is asked again of the new one."""
        if not self._source.follows_sentinels:
            return error
        self._is_outdated = True
        return redis_errors.ConnectionError("the previous master is a replica now")

    def _note_large(self, request: Request, reply: Any) -> None:
        if request.tag is not None and count_bytes(reply) > LARGE_BYTES:
            self.large[request.tag] = None
            if len(self.large) > _LARGE_KEYS:
                del self.large[next(iter(self.large))]

    def note_size(self, tag: Any, reply: Any) -> None:
        """Forget a key whose reply is not large any more."""
        if count_bytes(reply) <= LARGE_BYTES:
            self.large.pop(tag, None)

    def lose(self, receiver: _Receiver | None, text: str, kind: type[Exception] = redis_errors.ConnectionError) -> None:
        """Close the connection: what was written fails, what waits goes over the next one."""
        if receiver is not self._receiver or receiver is None:
            return
        transport, self._transport, self._receiver = self._transport, None, None
        transport.abort()
        self._pipeline.fail_sent(lambda: kind(text))
        if self._pipeline.waiting and not self._is_flush_due:
            self._flush_soon()

    def _is_ready(self, now: float) -> bool:
        """Return whether the connection, on which nothing is under way, can be written to."""
        if self._transport is None or self._transport.is_closing() or self._is_outdated:
            return False
        return not self._is_check_due(now) and self._source.is_current(self._connection)

    def _is_check_due(self, now: float) -> bool:
        interval = self._connection.health_check_interval
        return bool(interval) and now - self._received_at > interval

    async def _prepare(self) -> None:
        """Make the connection ready, and send what waits; fail it where there is no connection."""
        try:
            if not await self._passes_check():
                await self._open()
        except BaseException as error:
            failure = error if isinstance(error, Exception) else redis_errors.ConnectionError("interrupted")
            self._pipeline.fail_waiting(lambda: FinalError(_copy(failure)))
            if failure is not error:
                raise
        finally:
            self._preparing = None
        self._flush()

    async def _passes_check(self) -> bool:
        """Return whether a connection that has only been idle for long answers a PING."""
        transport = self._transport
        if (
            transport is None
            or transport.is_closing()
            or self._is_outdated
            or not self._source.is_current(self._connection)
        ):
            return False
        reply = self.loop.create_future()
        ping = Request(pack(("PING",)), reply, self.loop.time())
        self._pipeline.add_sent(ping)
        transport.write(ping.data)
        return not isinstance(await reply, Exception)

    async def _open(self) -> None:
        self.lose(self._receiver, "the connection was replaced")
        if self._connection is None:
            self._connection = await self._source.take()
        else:
            await self._connection.disconnect(nowait=True)
        connection = self._connection
        await self._source.connect(connection)
        transport = connection._writer.transport  # noqa: SLF001 -- redis-py offers the stream in no other way
        self._reader = make_reader(type(connection._parser).parse_error)  # noqa: SLF001
        self._receiver = _Receiver(self, transport.get_protocol())
        transport.set_protocol(self._receiver)
        self._pipeline.fail_sent(lambda: redis_errors.ConnectionError("interrupted"))
        self._received_at, self._reply_bytes, self._is_outdated = self.loop.time(), 0, False
        self._transport = transport

    def close(self, text: str) -> None:
        """Close the connection for good: what was written and what waits fails."""
        if self._preparing is not None:
            self._preparing.cancel()
        self._pipeline.fail_waiting(lambda: redis_errors.ConnectionError(text))
        self.lose(self._receiver, text)
        if self._connection is not None:
            self._connection._close()  # noqa: SLF001 -- redis-py has no public method that does not wait

    @property
    def _timeout(self) -> float | None:
        """Seconds within which a reply must come."""
        timeout: float | None = None if self._connection is None else self._connection.socket_timeout
        return timeout

    def _tick_later(self, now: float) -> None:
        timeout = self._timeout
        seconds = _TICK_SECONDS if timeout is None else min(_TICK_SECONDS, timeout / 4)
        self.loop.call_later(seconds, _tick, ref(self))
        self._tick_at = now + seconds

    def tick(self) -> None:
        """Fail callers that have waited too long, and close the connection if no bytes arrive."""
        pipeline, now = self._pipeline, self.loop.time()
        if not (pipeline.waiting or pipeline.sent):
            return
        self._tick_later(now)
        if self._transport is not None:
            self._check_ages(now)
            pipeline.expire_waiting(now - WAIT_SECONDS, functools.partial(queue_full_error, WAIT_SECONDS))
            self._is_outdated = self._is_outdated or not self._source.is_current(self._connection)
        self._flush()  # if an interruption has ended the one that was due

    def _check_ages(self, now: float) -> None:
        oldest, timeout = self._pipeline.oldest_sent(), self._timeout
        if oldest is None or timeout is None:
            return
        text = f"no reply within {timeout} s"
        if now - max(oldest, self._received_at) >= timeout:
            self.lose(self._receiver, text, redis_errors.TimeoutError)
        else:
            self._pipeline.expire_sent(now - timeout, lambda: redis_errors.TimeoutError(text))


def _tick(known: ref[SharedConnection]) -> None:
    shared = known()
    if shared is not None:
        shared.tick()


def _copy(error: Exception) -> Exception:
    """Return an error for one of several callers: a traceback belongs to one of them."""
    try:
        return copy.copy(error)
    except TypeError:  # its arguments are not those of its constructor
        return error
