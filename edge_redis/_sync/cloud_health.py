"""Whether the cloud works: a change is given up where it alone fails, and kept where the cloud refuses everything."""

from __future__ import annotations

import logging

from edge_redis._core.error_text import describe_error
from edge_redis._core.operation import Invoke
from edge_redis._sync.cloud_store import AnyCloudStore

_log = logging.getLogger("edge_redis")


class CloudHealth:
    """The successes of one worker's calls since a scope began to fail, and whether the feed can be read."""

    def __init__(self, cloud: AnyCloudStore) -> None:
        self._cloud = cloud
        self._successes = 0
        self._at_failure: dict[str, int] = {}
        self.feed_fails = False
        """Whether the last reading of the feed failed."""

    def add_success(self, scope: str) -> None:
        """Record that the cloud applied changes of a scope."""
        self._successes += 1
        self._at_failure.pop(scope, None)

    def add_failure(self, scope: str) -> None:
        """Record that a change of a scope failed."""
        self._at_failure.setdefault(scope, self._successes)

    async def cloud_works(self, scope: str) -> bool:
        """Return whether the cloud applied another scope since this one began to fail, or ``get`` and its feed work."""
        if self._successes > self._at_failure.get(scope, self._successes):
            return True
        if self.feed_fails:
            return False
        try:
            await Invoke(self._cloud.get, scope)
        except Exception as error:  # noqa: BLE001 -- any error: the cloud does not answer
            _log.warning(
                "the cloud refuses %r as a whole, so that no change of it is given up: %s", scope, describe_error(error)
            )
            return False
        return True
