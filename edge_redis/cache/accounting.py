"""What a cache counts: accesses on their way to Redis, and the statistics that come of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final, TypeVar

from edge_redis.cache.buffer import AccessBuffer
from edge_redis.cache.keys import CacheKeys
from edge_redis.cache.limits import Settings
from edge_redis.cache.scripts import CallId, Scripts, chunks
from edge_redis.core.operation import Batch, Flow, Operation
from edge_redis.core.repeats import Slots
from edge_redis.core.subject import Subject
from edge_redis.errors import StoreError

T = TypeVar("T")

_COUNTED: Final = ("hits", "misses", "evictions", "expirations", "undecodable", "healed")


def _percent(hits: int, misses: int) -> float:
    return 100.0 * hits / (hits + misses) if hits + misses else 0.0


def together(operations: Sequence[Operation[T]]) -> Flow[list[T]]:
    """Perform operations in one round trip; one alone without a pipeline, which costs more than it does."""
    if len(operations) == 1:
        return [(yield from operations[0])]
    return (yield from Batch(operations))


class Accounting(Subject):
    """The part of a cache that counts."""

    def __init__(self, namespace: str, settings: Settings) -> None:
        self._settings = settings
        self._keys = CacheKeys(namespace)
        self._scripts = Scripts(self._keys)
        self._slots = Slots()
        self._exact = settings.flush_every == 1
        self.tick_seconds = None if self._exact else settings.flush_interval
        # The first batch goes alone: a server that does not know the script yet would take it last.
        self._delivered = False
        self.buffer = AccessBuffer()
        """A service puts the one in its place that all caches of this process and namespace share."""

    def stats(self) -> Flow[dict[str, Any]]:
        """Return the statistics of all processes of the namespace; this process's are always included.

        ``size`` (live entries), ``max_size``, ``hits``, ``misses``, ``hit_rate`` (0 to 100),
        ``default_ttl`` (seconds), ``evictions`` (to make room), ``expirations``, ``undecodable``
        (entries whose bytes did not decode) and ``healed`` (entries whose value Redis evicted by
        itself). Other processes' hits and misses follow within their ``flush_interval``.
        """
        live, due, *counted = yield from self._after_flush(self._scripts.stats(_COUNTED))
        known = dict(zip(_COUNTED, counted, strict=True))
        known["expirations"] += due
        return {
            "size": live,
            "max_size": self._settings.max_size,
            "hit_rate": _percent(known["hits"], known["misses"]),
            "default_ttl": self._settings.default_ttl,
            **known,
        }

    def size(self) -> Flow[int]:
        """Live entries."""
        live, *_ = yield from self._after_flush(self._scripts.stats(_COUNTED[:1]))
        return live

    def hit_rate(self) -> Flow[float]:
        """Hits of all requests of all processes, 0 to 100; 0.0 before any request."""
        _, _, hits, misses = yield from self._after_flush(self._scripts.stats(_COUNTED[:2]))
        return _percent(hits, misses)

    def tick(self) -> Flow[None]:
        """Deliver the accesses noted so far."""
        return self.flush()

    def flush(self) -> Flow[None]:
        """Deliver the accesses noted so far, those of all caches of this process and namespace."""
        yield from self._deliver(self.buffer.seal())

    def after_fork(self) -> None:
        """Forget what the parent has noted: it delivers that itself."""
        self.buffer.reset()

    def _deliver(self, last: int) -> Flow[None]:
        while batch := self.buffer.next_batch(last):
            yield from self._scripts.count(batch)
            self.buffer.acknowledge(batch)
            self._delivered = True

    def _is_full(self) -> bool:
        return len(self.buffer) >= self._settings.flush_every

    def _flush_or_keep(self) -> Flow[None]:
        """Deliver what a read has noted. The read was answered: an error is kept for the next flush to tell."""
        with suppress(StoreError):
            yield from self.flush()

    def _after_flush(self, operation: Operation[T]) -> Flow[T]:
        results = yield from self._all_after_flush([operation])
        return results[0]

    def _all_after_flush(self, operations: Sequence[Operation[T]]) -> Flow[list[T]]:
        """Perform operations with the accesses noted so far delivered before them, in the same round trip."""
        last = self.buffer.seal()
        yield from self._deliver(last - 1 if self._delivered else last)
        batch = self.buffer.next_batch(last)
        if batch is None:
            return (yield from together(operations))
        in_order: list[Operation[Any]] = [self._scripts.count(batch), *operations]
        _, *results = yield from Batch(in_order, ordered=True)
        self.buffer.acknowledge(batch)
        return results

    def _remembered(self, keys: Sequence[str], build: Callable[[Sequence[str], CallId], Operation[T]]) -> Flow[list[T]]:
        """Perform ``build`` for chunks of keys in one round trip, each under an id of its own."""
        with ExitStack() as held:
            calls = [build(chunk, held.enter_context(self._slots.hold())) for chunk in chunks(keys)]
            return (yield from together(calls))
