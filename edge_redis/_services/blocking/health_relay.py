# Generated from edge_redis/_services/aio/health_relay.py by scripts/dev/generate_blocking.py. Do not edit.
"""TransitionRelay for a blocking client."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Self, cast

from edge_redis._health.config import RelayConfig
from edge_redis._health.relay import Relay
from edge_redis._io.clients import BlockingClient
from edge_redis._io.lifecycle import BlockingLoopService
from edge_redis._io.loop import every
from edge_redis._io.sinks import WebhookSink
from edge_redis._io.user_functions import adapt_sink
from edge_redis._services.components import default_shards
from edge_redis.models import Transition
from edge_redis.types import RelayStats


class TransitionRelay(BlockingLoopService[Relay]):
    """Delivers each transition of a namespace to ``sink``, in order and at least once, from its first round on.

    Any number of relays of one name share the work: one delivers, the others stand by. The position is kept in
    Redis, so that a relay that comes back continues there. A sink that raises is tried again after a pause that
    doubles up to five minutes, or the longer one that the receiver asked for, until the transition is
    ``max_age_seconds`` old; then it is dropped, counted and logged as an error. A transition that the receiver refuses
    (DeliveryError) is dropped after eight attempts. Transitions wait in the capped stream only: those that the
    cap removes are counted as lost and logged. If a relay dies between delivering a transition and recording that, the
    transition is delivered again with the same ``position``.

    Args:
        client: a Redis or Valkey client with ``decode_responses=False``.
        sink: ``WebhookSink(url)``, ``ExecSink(command)``, or any function of a Transition. With
            ``edge_redis.aio`` it may be a coroutine function; others are called in a thread there.
        name: relays of one name and the same ``states`` share one position.
        namespace: as in HealthMonitor.
        states: the states to deliver, such as ("unhealthy", "recovered"), see Transition; None: all.
        attempts: how often one transition is tried; None: until it is too old.
        max_age_seconds: a transition that is older and fails once more is dropped.
        once_while_flapping: while a node flaps, deliver only the beginning and the end of the flapping, provided
            that ``states`` includes "flapping"; None: True for a WebhookSink, else False.
        backoff_seconds: pause before the second attempt.
        interval_seconds: pause between two reads of the stream.
        lease_seconds: how long a relay that dies keeps its lease; must be longer than the sink may take.
        shards: as in HealthMonitor. Each has a position of its own: transitions of one node come in order, those of
            nodes in different shards nearly so.

    """

    def __init__(
        self,
        client: BlockingClient,
        sink: Callable[[Transition], object],
        *,
        name: str = "default",
        namespace: str = "default",
        states: Collection[str] | None = None,
        attempts: int | None = None,
        max_age_seconds: float = 21_600.0,
        once_while_flapping: bool | None = None,
        backoff_seconds: float = 1.0,
        interval_seconds: float = 1.0,
        lease_seconds: float = 30.0,
        shards: int | None = None,
    ) -> None:
        config = RelayConfig(
            name=name,
            states=states,
            attempts=attempts,
            max_age_seconds=max_age_seconds,
            once_while_flapping=isinstance(sink, WebhookSink) if once_while_flapping is None else once_while_flapping,
            backoff_seconds=backoff_seconds,
            interval_seconds=interval_seconds,
            lease_seconds=lease_seconds,
            shards=shards,
            default_shards=default_shards(client),
        )
        component = Relay(adapt_sink(sink), config, namespace=namespace)
        super().__init__(client, component, every(config.interval_seconds))

    def run_once(self) -> int:
        """Deliver what is due, where this relay holds the lease; return how many were delivered."""
        return self._run(self._component.run_once())

    def stats(self) -> RelayStats:
        """Return the counts of all relays of this name and these states, and the last error.

        ``delivered``, ``dropped`` and ``lost`` count transitions; ``attempts`` is the number of failed attempts at the
        next transition.
        """
        return cast("RelayStats", self._run(self._component.stats()))

    def start(self) -> Self:
        """Deliver in the background from now on, also if nothing refers to this object.

        The first relay of a name delivers the transitions after this call.
        """
        self._run(self._component.take())
        return super().start()
