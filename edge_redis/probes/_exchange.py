"""What a probe says on a connection, and how it judges the answer. Blocking and asyncio connections share it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from edge_redis.probes._target import Target


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange with a node: TLS or not, what is sent, and the bytes that are read at most."""

    context: ssl.SSLContext | None = None
    server_name: str | None = None
    request: bytes = b""
    limit: int = 0


class Dialogue(Protocol):
    """One kind of probe."""

    def open(self, target: Target) -> Exchange:
        """Return what to say to a target."""

    def is_answer(self, received: bytes, certificate: Mapping[str, Any]) -> bool:
        """Return whether a node answered as it should; False: more bytes are needed.

        Raises:
            NoAnswerError: it answered otherwise.

        """
