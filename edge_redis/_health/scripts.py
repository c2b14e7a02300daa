"""The Lua scripts of monitors, one function each: its keys, its arguments and how its reply is decoded.

Those of watches and relays are in ``watch_scripts``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from edge_redis._core.operation import Argument, Operation
from edge_redis._core.script import load
from edge_redis._health.config import HealthConfig
from edge_redis._health.keys import ORPHAN_HISTORY_MS, HealthKeys

T = TypeVar("T")

OVERDUE: Final = 0.5
"""A node without a heartbeat for this share of the timeout is overdue."""

OVERDUE_PHI: Final = 0.30103
"""phi of a node whose heartbeat is missing for as long as the mean interval: the decimal logarithm of two."""

_CHECK_NODES: Final = load(__package__, "check_nodes")
_DEREGISTER: Final = load(__package__, "deregister")
_HEARTBEAT: Final = load(__package__, "heartbeat")
_HEARTBEAT_REPORT: Final = load(__package__, "heartbeat_report")
_HEARTBEATS: Final = load(__package__, "heartbeats")
_LIST_IDS: Final = load(__package__, "list_ids")
_LIST_STALE: Final = load(__package__, "list_stale")
_NODE_HISTORY: Final = load(__package__, "node_history")
_NODE_RECORDS: Final = load(__package__, "node_records")
_REGISTER: Final = load(__package__, "register")
_REMOVE_STALE: Final = load(__package__, "remove_stale")
_SET_MAINTENANCE: Final = load(__package__, "set_maintenance")
_SNAPSHOT: Final = load(__package__, "snapshot")

KEEP_TIMEOUT: Final = "keep"
NO_TIMEOUT: Final = ""


class Claim(NamedTuple):
    """A node to check, and the record that the caller holds of it; an empty record for a registered id."""

    node_id: str
    record: str = ""


class NodeRecord(NamedTuple):
    """The record of a node, as ``register.lua`` writes it."""

    node_id: str
    heartbeat_ms: int
    status: str
    location: str
    profile: bytes
    resources: bytes


class CheckCall(NamedTuple):
    """How ``check_nodes.lua`` checks: the form of its reply, the leader's term, and a note on the reason."""

    form: str
    term: str = ""
    note: str = ""


def heartbeat(keys: HealthKeys, node_id: str) -> Operation[bool]:
    """Record a heartbeat and nothing else; return whether the node is registered."""
    return _HEARTBEAT([keys.heartbeats, f"{keys.nodes}:{node_id}", keys.deadlines], [node_id], bool)


def heartbeat_report(
    keys: HealthKeys, config: HealthConfig, node_id: str, status: str, resources: bytes
) -> Operation[bool]:
    """Record a heartbeat with what the node reports; return whether the node is registered."""
    return _HEARTBEAT_REPORT(
        [keys.heartbeats, keys.node(node_id), keys.deadlines],
        [node_id, status, resources, config.now_arg(), config.arrival_limit_ms],
        bool,
    )


def heartbeats(keys: HealthKeys, config: HealthConfig, ids: Sequence[str]) -> Operation[bytes]:
    """Record many heartbeats; return for each id "1" where the node is registered, else "0"."""
    return _HEARTBEATS(
        [keys.heartbeats, keys.nodes, keys.deadlines], [config.now_arg(), config.arrival_limit_ms, *ids], bytes
    )


def register(keys: HealthKeys, config: HealthConfig, record: NodeRecord, timeout_ms: float | str) -> Operation[int]:
    """Write a node's record, its own timeout and its heartbeat; return the heartbeat that counts, in server ms."""
    name = record.node_id
    args: list[Argument] = [name, record.heartbeat_ms, timeout_ms, record.status, record.location]
    return _REGISTER(
        [keys.heartbeats, keys.node(name), keys.history(name), keys.spells_of(name), keys.deadlines],
        [*args, record.profile, record.resources, config.now_arg(), config.arrival_limit_ms],
        int,
    )


def deregister(keys: HealthKeys, config: HealthConfig, call: tuple[str, int], node_id: str) -> Operation[int]:
    """Remove a node; return 1 where it was registered, else 0."""
    return _DEREGISTER(
        [
            *(keys.heartbeats, keys.node(node_id), keys.history(node_id), keys.spells_of(node_id), keys.repeats),
            *(keys.suspects, keys.flapping, keys.deadlines, keys.transitions, keys.totals),
        ],
        [node_id, *call, config.max_transitions, config.now_arg()],
        int,
    )


def set_maintenance(
    keys: HealthKeys, config: HealthConfig, node_id: str, duration_ms: float | str, reason: str, key: tuple[str, int]
) -> Operation[bytes]:
    """Begin, change or end a node's maintenance; return "1" if it was in one, "0" if not, "" if it is unknown."""
    return _SET_MAINTENANCE(
        [keys.node(node_id), keys.history(node_id), keys.suspects, keys.transitions, keys.totals, keys.repeats],
        [node_id, duration_ms, reason, config.max_transitions, config.now_arg(), *key],
        bytes,
    )


def snapshot(keys: HealthKeys, config: HealthConfig, ids: Sequence[str], decode: Callable[[Any], T]) -> Operation[T]:
    """Read the records of some nodes, and the data that decide their health."""
    return _SNAPSHOT(
        [keys.heartbeats, keys.nodes, keys.flapping, keys.leader], [config.timeout_ms, config.now_arg(), *ids], decode
    )


def node_history(
    keys: HealthKeys, config: HealthConfig, node_id: str, limit: int, decode: Callable[[Any], T], *, with_state: bool
) -> Operation[T]:
    """Read a node's newest checks and changes of verdict; ``with_state``, also whether it flaps for a watch."""
    return _NODE_HISTORY(
        [keys.history(node_id), keys.spells_of(node_id), keys.flapping, keys.leader],
        [node_id if with_state else "", limit, config.now_arg()],
        decode,
    )


def node_records(keys: HealthKeys, status: str, ids: Sequence[str], decode: Callable[[Any], T]) -> Operation[T]:
    """Read the records of some nodes, those of one status where it is given."""
    return _NODE_RECORDS([keys.heartbeats, keys.nodes], [status, *ids], decode)


def list_ids(keys: HealthKeys, cursor: bytes, count: int) -> Operation[list[bytes]]:
    """Read one page of the registered ids, after the next cursor."""
    return _LIST_IDS([keys.heartbeats], [cursor, count], list[bytes])


def list_stale(
    keys: HealthKeys, config: HealthConfig, age_ms: float | str, limit: int, decode: Callable[[Any], T]
) -> Operation[T]:
    """List the ids without a heartbeat for ``age_ms``, or, where that is empty, for their timeout."""
    return _LIST_STALE(
        [keys.heartbeats, keys.deadlines, keys.leader], [age_ms, config.timeout_ms, limit, config.now_arg()], decode
    )


def remove_stale(
    keys: HealthKeys, config: HealthConfig, call: tuple[str, int], age_ms: float, limit: int, offset: int
) -> Operation[tuple[int, int]]:
    """Remove nodes without a heartbeat for ``age_ms``; return how many were removed and how many were kept."""
    return _REMOVE_STALE(
        [
            *(keys.heartbeats, keys.nodes, keys.histories, keys.spells, keys.transitions, keys.totals),
            *(keys.repeats, keys.suspects, keys.flapping, keys.deadlines),
        ],
        [*call, age_ms, limit, config.max_transitions, config.now_arg(), offset],
        _decode_counts,
    )


def _decode_counts(reply: bytes) -> tuple[int, int]:
    removed, kept = map(int, reply.split())
    return removed, kept


class CheckOptions(NamedTuple):
    """The arguments of ``check_nodes.lua`` that a monitor's options decide, made once."""

    limits: tuple[Argument, ...]
    phi: tuple[Argument, ...]


def make_check_options(config: HealthConfig) -> CheckOptions:
    """Return the arguments of ``check_nodes`` for these options."""
    timeout_ms = config.timeout_ms
    phi: tuple[Argument, ...] = ("", OVERDUE, "")
    if config.uses_phi:
        phi = (config.phi_threshold, OVERDUE, OVERDUE_PHI)
    return CheckOptions((timeout_ms, config.max_history, config.max_transitions, ORPHAN_HISTORY_MS), phi)


def check_nodes(
    keys: HealthKeys,
    options: CheckOptions,
    key: tuple[str, int],
    how: CheckCall,
    now: str,
    claims: Iterable[Claim],
) -> Operation[bytes]:
    """Check some nodes, at the server's time where ``now`` is empty."""
    args = [*key, *options.limits, how.form, now, how.term, *options.phi, how.note]
    for claim in claims:
        args += claim
    return _CHECK_NODES(
        [
            *(keys.heartbeats, keys.nodes, keys.histories, keys.spells, keys.transitions),
            *(keys.totals, keys.repeats, keys.leader, keys.suspects, keys.flapping),
        ],
        args,
        bytes,
    )
