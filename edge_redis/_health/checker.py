"""Checks of nodes: one node in one atomic step, many in slices in one round trip."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from edge_redis._core.chunks import split_chunks
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Batch
from edge_redis._health import node_record, scripts, verdicts
from edge_redis._health.config import HealthConfig
from edge_redis._health.keys import HealthKeys
from edge_redis._health.registry import unknown_error
from edge_redis._health.scripts import CheckCall, Claim
from edge_redis._health.slices import AT_ONCE, SLICE
from edge_redis._health.verdicts import Verdict
from edge_redis.errors import CorruptDataError
from edge_redis.models import EdgeNode, HealthCheck

_log: Final = logging.getLogger("edge_redis")

FENCED: Final = b"FENCED"
"""The reply of ``check_nodes.lua`` to a leader whose term or round is over."""
STALE: Final = b"STALE"
"""The reply to a call that was given up. A caller that still waits gets it if the record of calls is damaged."""

BRIEF: Final = CheckCall("brief")
_FULL: Final = CheckCall("full")


class TimeoutWarning:
    """Warns once of a leading watch whose timeout differs from this monitor's, and replaces it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._has_warned = False

    def warn(self, leading_seconds: float) -> None:
        """Warn, unless that was done."""
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "the HealthWatch that leads checks with a timeout of %g s: it replaces heartbeat_timeout_seconds=%g",
                leading_seconds,
                self._seconds,
            )


class Checker:
    """Checks nodes of a shard: healthy while the heartbeat is younger than the timeout, the status is not OFFLINE."""

    def __init__(self, keys: HealthKeys, config: HealthConfig, warning: TimeoutWarning) -> None:
        self._keys = keys
        self._config = config
        self._options = scripts.make_check_options(config)
        self._idempotency = IdempotencyKeys()
        self._warning = warning

    async def check_node(self, node: EdgeNode | str) -> HealthCheck:
        """Check one node."""
        claim = node_record.make_claim(node)
        now = self._config.now_arg()
        with self._idempotency.acquire() as key:
            reply = await scripts.check_nodes(self._keys, self._options, key, _FULL, now, [claim])
        found = verdicts.decode_line(claim.node_id, self._take_timeout(reply) if reply[:1] == b"@" else reply)
        if found is not None:
            return found
        if reply.rpartition(b"\n")[2] == verdicts.UNKNOWN:
            raise unknown_error([claim.node_id])
        raise CorruptDataError(f"the record of node {claim.node_id!r} does not decode: {reply[:200]!r}")

    async def check(self, claims: Sequence[Claim], how: CheckCall) -> list[Verdict] | None:
        """Check nodes slice by slice; return their verdicts, or None where the leader's term or round is over."""
        found: list[Verdict] = []
        for some in split_chunks(claims, AT_ONCE):
            parts = split_chunks(some, SLICE)
            replies = await self._check_slices(parts, how)
            if FENCED in replies:
                return None
            if STALE in replies:
                raise CorruptDataError(f"the record of this client's calls does not decode: {self._keys.repeats}:*")
            for part, reply in zip(parts, replies, strict=True):
                words = self._take_timeout(reply) if reply[:1] == b"@" else reply
                found.extend(verdicts.decode_words((claim.node_id for claim in part), words))
        return found

    def _take_timeout(self, reply: bytes) -> bytes:
        """Return a reply without its first line: the leading watch's timeout, which differs from the caller's."""
        timeout_ms, _, rest = reply.partition(b"\n")
        self._warning.warn(float(timeout_ms[1:]) / 1000)
        return rest

    async def keep_round(self, how: CheckCall) -> bool:
        """Extend the leader's round without a check; return whether its term and round go on."""
        with self._idempotency.acquire() as key:
            return await scripts.check_nodes(self._keys, self._options, key, how, "", []) != FENCED

    async def _check_slices(self, parts: Sequence[Sequence[Claim]], how: CheckCall) -> list[bytes]:
        now = self._config.now_arg()
        with ExitStack() as calls:
            keys = [calls.enter_context(self._idempotency.acquire()) for _ in parts]
            return await Batch(
                [
                    scripts.check_nodes(self._keys, self._options, key, how, now, part)
                    for key, part in zip(keys, parts, strict=True)
                ]
            )
