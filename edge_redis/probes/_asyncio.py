"""Exchanges on an asyncio event loop. The caller limits the time, by cancelling."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from edge_redis.probes._exchange import Dialogue, Exchange
from edge_redis.probes._lookup import Place
from edge_redis.probes._no_answer import NoAnswerError, explain


async def run(places: Sequence[Place], exchange: Exchange, dialogue: Dialogue, seconds: float) -> None:
    """Connect to the first place that accepts a connection, and have the exchange there.

    Raises:
        NoAnswerError: none accepts one, or the answer is not as it should be.

    """
    raw = await _connect(places, asyncio.get_running_loop().time() + seconds)
    try:
        reader, writer = await asyncio.open_connection(
            sock=raw, ssl=exchange.context, server_hostname=exchange.server_name, limit=max(exchange.limit, 1)
        )
    except BaseException:  # the socket belongs to a transport, which closes it in the loop's next turn
        await asyncio.sleep(0)
        raise
    try:
        await _talk(reader, writer, exchange, dialogue)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn


async def _talk(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, exchange: Exchange, dialogue: Dialogue
) -> None:
    certificate = writer.get_extra_info("peercert") or {}
    if exchange.request:
        writer.write(exchange.request)
        await writer.drain()
    received = b""
    while not dialogue.is_answer(received, certificate):
        if len(received) >= exchange.limit:
            raise NoAnswerError(f"no answer in the first {exchange.limit} bytes")
        chunk = await reader.read(exchange.limit - len(received))
        if not chunk:
            raise NoAnswerError("the connection was closed before an answer")
        received += chunk


async def _connect(places: Sequence[Place], until: float) -> socket.socket:
    loop = asyncio.get_running_loop()
    reason = "it has no address"
    for number, place in enumerate(places):
        made = socket.socket(place.family, socket.SOCK_STREAM)
        made.settimeout(0)
        try:
            async with asyncio.timeout((until - loop.time()) / (len(places) - number)):
                await loop.sock_connect(made, place.sockaddr)
        except OSError as error:
            made.close()
            reason = f"{place.address}: {explain(error)}"
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise NoAnswerError(f"cannot connect to {reason}")
