"""How many nodes one script call and one round trip handle, so that no call holds the server for long."""

from __future__ import annotations

from typing import Final

PAGE: Final = 500
"""Ids read in one call."""

SLICE: Final = 50
"""Nodes that one script reads or checks: about 0.7 ms of the server's time."""

AT_ONCE: Final = 100 * SLICE
"""Nodes in one round trip: a hundred slices."""
