"""What wakes a CloudWorker: hints of its edge, and whatever its cloud store reports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from edge_redis._io.hint_listener import HintListener, make_listener
from edge_redis._io.wake_ups import Listener, Wake
from edge_redis._sync.feed import Feed
from edge_redis._sync.hints import Hints
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


class Listening:
    """Makes the listeners of a worker. It does not refer to the service, which may go while nothing runs."""

    def __init__(self, client: Any, worker: Worker) -> None:
        self._client = client
        self.worker = worker
        self.edge: Listener | None = None
        """A listener of the edge that the worker shares with others."""
        self.cloud: Listener | None = None
        """The same of the cloud."""

    def make(self, wake: Wake) -> list[Listener | None]:
        """Return listeners of the edge and of the cloud; None in the place of a cloud that cannot be listened to."""
        return [
            self.edge or make_listener(self._client, self.worker.edge_hints(wake)),
            self.cloud or _make_cloud_listener(self.worker, wake),
        ]


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


class SharedListener:
    """What one worker knows of a listener that works for several workers: they do not start and close it."""

    def __init__(self, listener: HintListener) -> None:
        self._listener = listener

    @property
    def is_listening(self) -> bool:
        """Whether hints arrive now."""
        return self._listener.is_listening

    def start(self) -> None:
        """Do nothing: the listener is started for all workers."""

    def close(self) -> None:
        """Do nothing: the listener is closed for all workers."""

    def renew(self) -> None:
        """Make the connection anew, for all workers: hints do not arrive by this one."""
        self._listener.renew()


def share_listeners(client: Any, workers: Sequence[tuple[Listening, Wake]]) -> list[Listener]:
    """Let several workers of one edge share listeners; return these: of the edge, and of each client of a cloud."""
    edge = make_listener(client, Hints.join([each.worker.edge_hints(wake) for each, wake in workers]))
    listeners: list[Listener] = [edge]
    by_client: dict[int, list[tuple[Listening, Wake]]] = {}
    for listening, wake in workers:
        listening.edge, listening.cloud = SharedListener(edge), None
        store: Any = listening.worker.cloud
        if hasattr(store, "hints") and hasattr(store, "client"):  # a RedisCloudStore
            by_client.setdefault(id(store.client), []).append((listening, wake))
    for members in by_client.values():
        stores: list[Any] = [each.worker.cloud for each, _ in members]
        hints = [store.hints(Reader(each.worker, wake)) for store, (each, wake) in zip(stores, members, strict=True)]
        cloud = make_listener(stores[0].client, Hints.join(hints))
        listeners.append(cloud)
        for listening, _ in members:
            listening.cloud = SharedListener(cloud)
    return listeners
