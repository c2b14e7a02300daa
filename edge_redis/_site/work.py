"""What an edge process does with one reading: the four services, in an order that survives a kill.

heartbeat, (on the recording's clock: a check), the functions with the cache before them, and last
of all the state's next version, which says that the reading is done. A process that is killed and
started again reads there how far it came: no reading is lost or done twice in the state. Counts
are buffered, as EdgeMetrics and EdgeCache do it: those of the last second before a kill are lost.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from edge_redis._services.bundle import EdgeRedis
from edge_redis._site.functions import FUNCTIONS, watched
from edge_redis._site.opening import open_operations
from edge_redis.models import EdgeNode, ResourceUsage

_Results: TypeAlias = dict[str, dict[str, float]]

_LONGEST_WINDOW: Final = max(length for _, length in FUNCTIONS.values())


def cache_key(node_id: str, function: str, field: str, window: Sequence[float]) -> str:
    """Return the key of a function's result: for equal windows of a node's field, the same key."""
    digest = hashlib.blake2b(repr((field, window)).encode(), digest_size=12).hexdigest()
    return f"{node_id}:{function}:{digest}"


class NodeWork:
    """The work of one node. ``run`` names the main job's run, so that an older one's progress is not taken for its."""

    def __init__(self, services: EdgeRedis, node: EdgeNode, *, run: str) -> None:
        self._cache, self._health, self._metrics = services.cache, services.health, services.metrics
        self._operations = open_operations(services)
        self._synchronizer = services.synchronizer(node.id, origin=node.id)
        self._node = node
        self._run = run
        self._windows: dict[str, deque[float]] = {}
        state = self._synchronizer.get_local_state()
        self._done = int(state.data["readings"]) if state and state.data.get("run") == run else 0

    @property
    def done(self) -> int:
        """Readings of this run that are in the state."""
        return self._done

    def remember(self, fields: Mapping[str, Any]) -> None:
        """Take a reading into the windows."""
        for name, value in watched(fields).items():
            self._windows.setdefault(name, deque(maxlen=_LONGEST_WINDOW)).append(value)

    def process(
        self, fields: Mapping[str, Any], *, at: str, resources: ResourceUsage | None = None, is_judged: bool = False
    ) -> None:
        """Do everything that one reading asks for.

        ``at`` is its time in ISO 8601; ``is_judged`` has the node checked right after its heartbeat.
        """
        with self._operations.track("heartbeat", self._node.id):
            self._health.heartbeat(self._node, resources=resources)
        if is_judged:
            self.check()
        self.remember(fields)
        computed: _Results = {}
        results = {name: self._run_function(name, computed) for name in FUNCTIONS}
        if computed:
            self._cache.put_many(computed)
        update = {**fields, "run": self._run, "readings": self._done + 1, "at": at, "results": results}
        self._synchronizer.update_local(update, is_delta=self._done > 0)
        self._done += 1

    def check(self) -> None:
        """Have the node judged now."""
        with self._operations.track("check", self._node.id):
            self._health.check_node(self._node.id)

    def close(self) -> None:
        """Deliver what was counted beside the functions; the services deliver the rest when they close."""
        self._operations.close()

    def _run_function(self, name: str, computed: _Results) -> _Results:
        """Return the function's result a field, from the cache or else computed, and noted as such."""
        function, length = FUNCTIONS[name]
        windows = {field: list(window)[-length:] for field, window in self._windows.items()}
        with self._metrics.track(name, self._node.id):
            keys = {field: cache_key(self._node.id, name, field, window) for field, window in windows.items()}
            results = self._cache.get_many(keys.values())
            missing = {keys[field]: function(window) for field, window in windows.items() if keys[field] not in results}
        computed |= missing
        results |= missing
        return {field: results[key] for field, key in keys.items()}
