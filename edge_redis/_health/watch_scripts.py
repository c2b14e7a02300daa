"""The Lua scripts of watches and relays, one function each: its keys, its arguments and how its reply is decoded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from edge_redis._core.operation import Argument, Operation
from edge_redis._core.script import load
from edge_redis._health.config import HealthConfig
from edge_redis._health.keys import HealthKeys

_LEADER_LEASE: Final = load(__package__, "leader_lease")
_RECORD_DELIVERY: Final = load(__package__, "record_delivery")
_RECORD_FLAPPING: Final = load(__package__, "record_flapping")
_RECORD_MASS_OUTAGE: Final = load(__package__, "record_mass_outage")
_RECORD_SUSPICION: Final = load(__package__, "record_suspicion")
_RELAY_LEASE: Final = load(__package__, "relay_lease")
_RELEASE_LEASE: Final = load(__package__, "release_lease")


class Term(NamedTuple):
    """A leader's term in a shard, as ``leader_lease.lua`` replies: number 0 for a stand-by, below 0 for a refusal.

    ``mass_outage_since_ms`` is 0 where there is none. ``differs`` is 1 where the watch that leads has another timeout
    or phi threshold, ``is_slow`` where rounds are rarer than the gap.
    """

    number: int
    now_ms: int
    since_ms: int
    mass_outage_since_ms: int
    differs: int
    is_slow: int


class Delivery(NamedTuple):
    """An attempt to deliver a transition: the relay's position before, the attempts so far, and the outcome.

    ``number`` is that of the transition, ``lost`` the transitions before it that the stream's cap removed.
    """

    before: str
    attempts: int
    position: str
    outcome: str
    number: int | str = ""
    lost: int = 0
    error: str = ""
    pause_seconds: float = 0.0


class Lease(NamedTuple):
    """A watch's claim to a lease: who it is, how long the lease lasts, and what pause counts as an outage."""

    holder: str
    lease_ms: int
    gap_ms: int
    timeout_ms: float
    threshold: Argument


def take_lease(keys: HealthKeys, lease: Lease, refused: int) -> Operation[Term]:
    """Take or keep the leader's lease in the first shard, with a term above ``refused``, and begin a round."""
    return _LEADER_LEASE([keys.leader], [*lease, "", refused], _decode_term)


def follow_lease(keys: HealthKeys, lease: Lease, granted: int) -> Operation[Term]:
    """Begin a round in another shard, with the term that the first one granted: 0 for a stand-by."""
    return _LEADER_LEASE([keys.leader], [*lease, granted, 0], _decode_term)


def _decode_term(reply: Iterable[bytes]) -> Term:
    return Term(*map(int, reply))


def release_lease(lease_key: str, holder: str) -> Operation[int]:
    """Release a leader's or a relay's lease; 1 where the holder held it."""
    return _RELEASE_LEASE([lease_key], [holder], int)


def record_mass_outage(
    keys: HealthKeys, config: HealthConfig, term: int, reason: str, *, begins: bool
) -> Operation[int]:
    """Record the beginning or the end of a mass outage."""
    return _RECORD_MASS_OUTAGE(
        [keys.leader, keys.transitions, keys.totals], [term, int(begins), reason, config.max_transitions], int
    )


def record_suspicion(
    keys: HealthKeys, config: HealthConfig, term: int, nodes: Iterable[tuple[str, float]], plan: str, *, restart: bool
) -> Operation[int]:
    """Mark nodes, given as ids and heartbeat ages in ms, as suspected; with ``restart``, from now if they are already.

    ``plan`` is added to the reason.
    """
    args: list[Argument] = [term, config.max_transitions, int(restart), config.timeout_ms, plan]
    for node in nodes:
        args += node
    return _RECORD_SUSPICION(
        [
            *(keys.leader, keys.suspects, keys.heartbeats, keys.histories),
            *(keys.transitions, keys.totals, keys.flapping, keys.nodes),
        ],
        args,
        int,
    )


def record_flapping(
    keys: HealthKeys, config: HealthConfig, term: int, node_id: str, verdict: str, reason: str, *, flaps: bool
) -> Operation[int]:
    """Record that a node flaps or no longer does; 1 where this is a change."""
    return _RECORD_FLAPPING(
        [keys.leader, keys.flapping, keys.heartbeats, keys.transitions, keys.totals],
        [term, node_id, int(flaps), verdict, reason, config.max_transitions],
        int,
    )


def relay_lease(keys: HealthKeys, name: str, holder: str, lease_ms: int, new_id: str) -> Operation[list[bytes]]:
    """Take or keep a relay's lease; return its position and attempts, and the stream; empty if nothing is due."""
    return _RELAY_LEASE(
        [keys.relay(name), keys.transitions, keys.relay_names, keys.totals],
        [holder, lease_ms, name, new_id],
        list[bytes],
    )


def record_delivery(relay: str, holder: str, delivery: Delivery, lease_ms: int) -> Operation[bool]:
    """Record the outcome of a delivery; return whether this holder goes on with the next transition."""
    before, attempts, position, outcome, number, lost, error, pause = delivery
    return _RECORD_DELIVERY(
        [relay],
        [holder, before, attempts, position, outcome, lease_ms, round(pause * 1000), number, lost, error],
        bool,
    )
