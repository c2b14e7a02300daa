"""The wall clock of this process: the default time of models and records. Verdicts and orderings use the server's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

now: Callable[[], datetime] = partial(datetime.now, UTC)
"""Returns the present time. ``edge_redis.testing`` replaces it while a test moves the clock."""
