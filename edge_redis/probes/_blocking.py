"""Exchanges over blocking sockets, within a time limit."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from edge_redis.probes._exchange import Dialogue, Exchange
from edge_redis.probes._lookup import Place
from edge_redis.probes._no_answer import NoAnswerError, explain


class Deadline:
    """The end of the time that a probe has."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: none are left.

        """
        seconds = self._at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("timed out")
        return seconds


def wait_for(lookup: Future[list[Place]], deadline: Deadline) -> list[Place]:
    """Return the result of a lookup."""
    return lookup.result(deadline.remaining())


def run(places: Sequence[Place], exchange: Exchange, dialogue: Dialogue, deadline: Deadline) -> None:
    """Connect to the first place that accepts a connection, and have the exchange there.

    Raises:
        NoAnswerError: none accepts one, or the answer is not as it should be.

    """
    with _connect(places, deadline) as raw, _secure(raw, exchange, deadline) as connection:
        certificate = connection.getpeercert() or {} if exchange.context is not None else {}
        if exchange.request:
            connection.settimeout(deadline.remaining())
            connection.sendall(exchange.request)
        received = b""
        while not dialogue.is_answer(received, certificate):
            if len(received) >= exchange.limit:
                raise NoAnswerError(f"no answer in the first {exchange.limit} bytes")
            connection.settimeout(deadline.remaining())
            chunk = connection.recv(exchange.limit - len(received))
            if not chunk:
                raise NoAnswerError("the connection was closed before an answer")
            received += chunk


def _connect(places: Sequence[Place], deadline: Deadline) -> socket.socket:
    reason = "it has no address"
    for number, place in enumerate(places):
        made = socket.socket(place.family, socket.SOCK_STREAM)
        try:
            made.settimeout(deadline.remaining() / (len(places) - number))
            made.connect(place.sockaddr)
        except OSError as error:
            made.close()
            reason = f"{place.address}: {explain(error)}"
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise NoAnswerError(f"cannot connect to {reason}")


@contextmanager
def _secure(raw: socket.socket, exchange: Exchange, deadline: Deadline) -> Iterator[Any]:
    if exchange.context is None:
        yield raw
        return
    raw.settimeout(deadline.remaining())
    with exchange.context.wrap_socket(raw, server_hostname=exchange.server_name) as secured:  # with one limit for all
        yield secured
