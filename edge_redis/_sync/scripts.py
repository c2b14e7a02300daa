"""The scripts of the state room."""

from __future__ import annotations

from typing import Final

from edge_redis._core.script import load

UPDATE: Final = load(__package__, "update")
APPLY: Final = load(__package__, "apply")
CONFIRM: Final = load(__package__, "confirm")
TAKE: Final = load(__package__, "take")
RELEASE: Final = load(__package__, "release")
PARK: Final = load(__package__, "park")
FEED: Final = load(__package__, "feed")
SETTLE: Final = load(__package__, "settle")
PLACE: Final = load(__package__, "place")
ADVANCE: Final = load(__package__, "advance")
LOOK: Final = load(__package__, "look")
NOTE: Final = load(__package__, "note")
COLLECT: Final = load(__package__, "collect")
