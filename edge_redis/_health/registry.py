"""Which nodes there are, and when each was last heard of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Argument, Batch, Operation
from edge_redis._core.script import load
from edge_redis._health import node_record as fields
from edge_redis._health.keys import HealthKeys
from edge_redis.models import EdgeNode, EdgeNodeStatus, ResourceUsage, from_timestamp, timestamp_ms

T = TypeVar("T")

Clock: TypeAlias = Callable[[], datetime]

PAGE: Final = 500
"""Ids read in one call."""
SLICE: Final = 50
"""Nodes that one script reads or judges: about 0.7 ms of the server's time."""
SLICES_AT_ONCE: Final = 100
"""Slices sent in one round trip."""

_REGISTER: Final = load(__package__, "register")
_ALIVE: Final = load(__package__, "alive")
_BEAT: Final = load(__package__, "beat")
_DEREGISTER: Final = load(__package__, "deregister")
_PAGE: Final = load(__package__, "page")
_FACTS: Final = load(__package__, "facts")


def sliced(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield ``items`` in runs of ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))


class Registry(Component):
    """The nodes of one namespace and their heartbeats. The server's time is a heartbeat's."""

    def __init__(self, namespace: str, clock: Clock | None = None) -> None:
        self._keys = HealthKeys(namespace)
        self._clock = None if clock is None else validation.function("clock", clock)
        self._arrival_limit: float | str = ""
        self._slots = IdempotencyKeys()

    async def register(self, node: EdgeNode) -> None:
        """Add a node, or replace its facts where it is registered.

        Its heartbeat is then the later of the node's own ``last_heartbeat`` and the one that the
        registry holds; one in the future counts as now.

        Raises:
            InvalidArgumentError, InvalidTypeError: a field of the node cannot be kept.

        """
        validation.instance("node", node, EdgeNode)
        await self._write(node, beats_now=False)

    def heartbeat(
        self,
        node: EdgeNode | str,
        status: EdgeNodeStatus | None = None,
        resources: ResourceUsage | None = None,
    ) -> Awaitable[bool]:
        """Note that a node is alive now, by the server's clock; return whether it is registered.

        With an id, status and resources change where they are given; an unknown id is False and
        nothing is written. With an EdgeNode, the object takes the status and resources given and
        the server's time as its ``last_heartbeat``, and the registry holds it as it then is,
        registered again if it had been forgotten: always True.
        """
        if isinstance(node, EdgeNode):
            return self._beat_of_object(node, status, resources)
        node_id = fields.node_id(node)
        keys = [self._keys.beats, self._keys.node(node_id)]
        if status is None and resources is None and self._clock is None and self._arrival_limit == "":
            return _ALIVE(keys, [node_id], bool)
        words: list[Argument] = [
            node_id,
            "" if status is None else fields.status_word(status),
            b"" if resources is None else fields.resource_bytes(resources),
            self._now_word(),
            self._arrival_limit,
        ]
        return _BEAT(keys, words, bool)

    async def _beat_of_object(
        self, node: EdgeNode, status: EdgeNodeStatus | None, resources: ResourceUsage | None
    ) -> bool:
        beating = EdgeNode(
            node.id,
            node.name,
            node.location,
            node.status if status is None else EdgeNodeStatus(fields.status_word(status)),
            node.capabilities,
            node.metadata,
            node.last_heartbeat,
            node.resources if resources is None else resources,
            node.max_functions,
        )
        beat_ms = await self._write(beating, beats_now=True)
        node.last_heartbeat = from_timestamp(beat_ms / 1000)
        node.status, node.resources = beating.status, beating.resources
        return True

    def _write(self, node: EdgeNode, *, beats_now: bool) -> Operation[int]:
        node_id = fields.node_id(node)
        return _REGISTER(
            [self._keys.beats, self._keys.node(node_id), self._keys.history(node_id)],
            [
                node_id,
                fields.beat_ms(node),
                "1" if beats_now else "0",
                fields.status_word(node.status),
                fields.location_text(node),
                fields.fact_bytes(node),
                fields.resource_bytes(node.resources),
                self._now_word(),
                self._arrival_limit,
            ],
            int,
        )

    def _now_word(self) -> str:
        """Return the moment by this monitor's own clock in Unix ms; nothing where the server's time counts."""
        return "" if self._clock is None else str(timestamp_ms(validation.instance("clock()", self._clock(), datetime)))

    async def deregister(self, node_id: str) -> bool:
        """Remove a node and its history; return whether it was registered."""
        name = validation.identifier("node id", node_id)
        keys = self._keys
        with self._slots.acquire() as (slot, number):
            removed = await _DEREGISTER(
                [keys.beats, keys.node(name), keys.history(name), keys.repeats, keys.suspects, keys.flapping],
                [name, slot, number],
                int,
            )
        return removed == 1

    async def get_node(self, node_id: str) -> EdgeNode | None:
        """Return a registered node, or None.

        Raises:
            CorruptDataError: its facts in Redis do not decode.

        """
        found = await self._facts([validation.identifier("node id", node_id)], "")
        return found[0] if found else None

    async def nodes(self, status: EdgeNodeStatus | None = None) -> list[EdgeNode]:
        """Return the registered nodes in the order of their ids, those of one status where it is given.

        Raises:
            CorruptDataError: a node's facts in Redis do not decode; the message names it.

        """
        word = "" if status is None else fields.status_word(status)
        ids = await self._ids()
        found: list[EdgeNode] = []
        for some in sliced(ids, SLICE * SLICES_AT_ONCE):
            slices = await Batch([self._facts(ids, word) for ids in sliced(some, SLICE)])
            found.extend(node for nodes in slices for node in nodes)
        return found

    def _facts(self, ids: Sequence[str], status: str) -> Operation[list[EdgeNode]]:
        keys = [self._keys.beats, self._keys.nodes]
        return _FACTS(keys, [status, *ids], lambda rows: [fields.from_facts(row) for row in rows])

    async def _ids(self) -> list[str]:
        """Return every registered id, in order; one registered throughout is never missed.

        What cannot be an id was not written by this package, and is left out.
        """
        ids: set[str] = set()
        cursor = b"0"
        while True:
            cursor, *page = await _PAGE([self._keys.beats], [cursor, PAGE], list[bytes])
            ids.update(fields.known_ids(page))
            if cursor == b"0":
                return sorted(ids)
