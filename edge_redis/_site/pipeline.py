"""The processing of one reading by an edge process: all four services, in an order that survives a kill.

A heartbeat (in a replay, followed by a check), then the functions with the cache in front of them,
and last the next version of the node's state, which records that the reading is done. A process
that is killed and restarted reads there how far it came, so no reading is lost or processed twice
in the state. Counts are buffered by EdgeMetrics and EdgeCache: those of the last second before a
kill are lost.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis._site.functions import FUNCTIONS, watched_values
from edge_redis._site.services import open_operation_metrics
from edge_redis.models import EdgeNode, ResourceUsage

_Results: TypeAlias = dict[str, dict[str, float]]

_LONGEST_WINDOW: Final = max(length for _, length in FUNCTIONS.values())


def cache_key(node_id: str, function: str, field: str, window: Sequence[float]) -> str:
    """Return the cache key of a function's result; equal windows of a node's field have equal keys."""
    digest = hashlib.blake2b(repr((field, window)).encode(), digest_size=12).hexdigest()
    return f"{node_id}:{function}:{digest}"


class ReadingPipeline:
    """Processes the readings of one node. Progress of another ``run_id`` in the node's state is ignored."""

    def __init__(self, services: EdgeRedis, node: EdgeNode, *, run_id: str) -> None:
        self._cache, self._health, self._metrics = services.cache, services.health, services.metrics
        self._operations = open_operation_metrics(services)
        self._synchronizer = services.synchronizer(node.id, origin=node.id)
        self._node = node
        self._run_id = run_id
        self._windows: dict[str, deque[float]] = {}
        state = self._synchronizer.get_local_state()
        self._processed = int(state.data["readings"]) if state and state.data.get("run") == run_id else 0

    @property
    def processed(self) -> int:
        """Number of readings of this run that are in the state."""
        return self._processed

    def append_to_windows(self, fields: Mapping[str, Any]) -> None:
        """Append a reading's values to the functions' windows."""
        for name, value in watched_values(fields).items():
            self._windows.setdefault(name, deque(maxlen=_LONGEST_WINDOW)).append(value)

    def process(
        self, fields: Mapping[str, Any], *, at: str, resources: ResourceUsage | None = None, with_check: bool = False
    ) -> None:
        """Process one reading.

        ``at`` is its time in ISO 8601; ``with_check`` checks the node right after its heartbeat.
        """
        with self._operations.track("heartbeat", self._node.id):
            self._health.heartbeat(self._node, resources=resources)
        if with_check:
            self.check()
        self.append_to_windows(fields)
        computed: _Results = {}
        results = {name: self._run_function(name, computed) for name in FUNCTIONS}
        if computed:
            self._cache.put_many(computed)
        update = {**fields, "run": self._run_id, "readings": self._processed + 1, "at": at, "results": results}
        self._synchronizer.update_local(update, is_delta=self._processed > 0)
        self._processed += 1

    def check(self) -> None:
        """Check the node now."""
        with self._operations.track("check", self._node.id):
            self._health.check_node(self._node.id)

    def close(self) -> None:
        """Flush the operation metrics; the services flush their own buffers when they are closed."""
        self._operations.close()

    def _run_function(self, name: str, computed: _Results) -> _Results:
        """Return the function's result for each field; results that were not cached are added to ``computed``."""
        function, length = FUNCTIONS[name]
        windows = {field: list(window)[-length:] for field, window in self._windows.items()}
        with self._metrics.track(name, self._node.id):
            keys = {field: cache_key(self._node.id, name, field, window) for field, window in windows.items()}
            results = self._cache.get_many(keys.values())
            missing = {keys[field]: function(window) for field, window in windows.items() if keys[field] not in results}
        computed |= missing
        results |= missing
        return {field: results[key] for field, key in keys.items()}
