"""Mistakes that a cache, metrics or a watch could easily have, planted to see whether the rules find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from support.coherence import MISSES_MOST
from support.sync_plants import Plant


@dataclass(frozen=True, slots=True)
class ServicePlant:
    """A mistake in the scripts of a service, or one of its near caches (``coherence.COARSE_BUGS``)."""

    service: str
    plant: Plant = Plant()  # noqa: RUF009 -- immutable
    near_bug: str = ""


SERVICE_PLANTS: Final[dict[str, ServicePlant]] = {
    "a repeated write is written again": ServicePlant(
        "cache",
        Plant((("local answered = recall(KEYS[1] .. ':repeats', began, ARGV[1], ARGV[2])", "local answered = nil"),)),
    ),
    "a full cache takes two entries more": ServicePlant(
        "cache", Plant((("max_bytes = tonumber(max_size), ", "max_bytes = tonumber(max_size) + 2, "),))
    ),
    "a near cache misses most announcements": ServicePlant("cache", near_bug=MISSES_MOST),
    "a repeated flush is counted again": ServicePlant(
        "metrics", Plant((("local known = recall(KEYS[2], now, writer, sequence)", "local known = false"),))
    ),
    "a new leader keeps the term": ServicePlant(
        "health", Plant((("if known[1] ~= holder then term", "if not known[1] then term"),))
    ),
    "a verdict is a transition each time": ServicePlant(
        "health",
        Plant((
            ("node.may_change = node.mark ~= mark_before", "node.may_change = true"),
            ("if was == is or (was", "if (was"),
        )),
    ),
    "heartbeats count for a tenth of the timeout": ServicePlant(
        "health", Plant((("fresh = missing < own_timeout", "fresh = missing < own_timeout / 10"),))
    ),
}  # fmt: skip
