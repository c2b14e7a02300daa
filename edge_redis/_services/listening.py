"""What wakes a CloudWorker: hints of its edge, and whatever its cloud store reports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from edge_redis._io.hint_listener import make_listener
from edge_redis._io.wake_ups import Listener, Wake
from edge_redis._sync.feed import Feed
from edge_redis._sync.worker import Worker

_log = logging.getLogger("edge_redis")


class Reader:
    """A worker, as its cloud store sees it: a FeedReader."""

    def __init__(self, worker: Worker, wake: Wake) -> None:
        self._worker = worker
        self._wake = wake

    @property
    def cursor(self) -> str:
        """The cursor up to which it has read."""
        return self._worker.puller.cursor

    @property
    def store_id(self) -> str:
        """The end of the origin of states that its edge has written."""
        return self._worker.puller.store_id

    @property
    def segments(self) -> Sequence[str] | None:
        """What the scopes that it carries begin with; None where that is anything."""
        return self._worker.segments

    def deliver(self, after: str, page: Feed) -> None:
        """Give the worker a page of the feed that follows the cursor ``after``."""
        self._worker.puller.deliver(after, page)

    def wake(self, is_news: Callable[[str], bool] | None = None) -> None:
        """Let the worker read soon, where ``is_news`` is true for the cursor that it has by then."""
        self._wake(None if is_news is None else lambda: is_news(self.cursor))


def make_listeners(client: Any, worker: Worker, wake: Wake) -> list[Listener | None]:
    """Return listeners of a worker's edge and of its cloud; None in the place of a cloud that cannot be listened to."""
    return [make_listener(client, worker.edge_hints(wake)), _make_cloud_listener(worker, wake)]


def _make_cloud_listener(worker: Worker, wake: Wake) -> Listener | None:
    listen = getattr(worker.cloud, "listen", None)
    if listen is None:
        return None
    try:
        listener: Listener = listen(Reader(worker, wake))
    except Exception:  # noqa: BLE001 -- a store may raise anything
        _log.exception("polling, since the cloud store does not let the worker listen")
        return None
    return listener
