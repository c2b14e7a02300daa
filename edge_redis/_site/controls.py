"""What a person may do to a running demo site: kill and pause nodes, cut the cloud link, edit a scope in the cloud."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from edge_redis._services.blocking.cloud import RedisCloudStore
from edge_redis._site.cloud_link import CloudLink
from edge_redis._site.supervisor import Child
from edge_redis.errors import EdgeRedisError

_MIN_DOWN_SECONDS: Final = 3.0
_MAX_DOWN_SECONDS: Final = 20.0


class SiteControls:
    """Actions on a site. They are requested from any thread, and performed by the site's own between two polls.

    Args:
        edges: the edge processes.
        link: between worker and cloud; None where it cannot be cut.
        cloud: the cloud's store.
        down_seconds: how long a killed node stays down.
        log: shows an event.

    """

    def __init__(
        self,
        edges: Sequence[Child],
        link: CloudLink | None,
        cloud: RedisCloudStore,
        *,
        down_seconds: float,
        log: Callable[[str], None],
    ) -> None:
        self._edges = {child.name: child for child in edges}
        self._link = link
        self._cloud = cloud
        self._down_seconds = min(max(down_seconds, _MIN_DOWN_SECONDS), _MAX_DOWN_SECONDS)
        self._log = log
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    @property
    def node_ids(self) -> list[str]:
        """The nodes that can be killed and paused, in order."""
        return list(self._edges)

    @property
    def paused_node(self) -> str:
        """A node whose process is stopped; empty where none is."""
        return next((name for name, child in self._edges.items() if child.is_paused), "")

    @property
    def is_link_cut(self) -> bool:
        """Whether the link between worker and cloud is cut."""
        return self._link is not None and self._link.is_cut

    def kill(self, node_id: str) -> None:
        """Kill a node's process; it starts again after a while."""
        self._requests.put(partial(self._kill, self._edges[node_id]))

    def toggle_pause(self, node_id: str) -> None:
        """Stop a node's process as a hung machine would, or continue it."""
        self._requests.put(partial(self._toggle_pause, self._edges[node_id]))

    def toggle_link(self) -> None:
        """Cut the link between worker and cloud, or restore it."""
        self._requests.put(self._toggle_link)

    def edit(self, scope: str) -> None:
        """Write a field of a scope in the cloud."""
        self._requests.put(partial(self._edit, scope))

    def run_requested(self) -> None:
        """Perform what was requested so far."""
        while not self._requests.empty():
            try:
                self._requests.get()()
            except EdgeRedisError as error:
                self._log(f"not done: {error}")

    def _kill(self, child: Child) -> None:
        if child.pid is None:
            self._log(f"{child.name} does not run")
            return
        child.crash(self._down_seconds)
        self._log(f"{child.name} was killed; it starts again in {self._down_seconds:.0f} s")

    def _toggle_pause(self, child: Child) -> None:
        if child.pid is None:
            self._log(f"{child.name} does not run")
        elif child.is_paused:
            child.resume()
            self._log(f"{child.name} continues")
        else:
            child.pause()
            self._log(f"{child.name} hangs: its process is stopped")

    def _toggle_link(self) -> None:
        if self._link is None:
            self._log("the cloud link cannot be cut: its URL is not redis://")
        elif self._link.is_cut:
            self._link.restore()
            self._log("the cloud link is back")
        else:
            self._link.cut()
            self._log("the cloud link is cut")

    def _edit(self, scope: str) -> None:
        edited = {"edited_in_the_cloud": datetime.now(UTC).isoformat(timespec="seconds")}
        state = self._cloud.update(scope, edited, is_delta=True)
        self._log(f"{scope} was edited in the cloud: version {state.version}")
