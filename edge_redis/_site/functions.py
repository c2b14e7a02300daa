"""The functions an edge node runs over the latest readings of a field: pure, and the same for the same input.

Each takes a window, the latest values oldest first, already rounded by ``rounded``: what differs
by less than a sensor resolves is the same input, and its result can come from the cache.
"""

from __future__ import annotations

import statistics
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

Window: TypeAlias = Sequence[float]
Function: TypeAlias = Callable[[Window], dict[str, float]]

SIGNIFICANT_DIGITS: Final = 3
"""About what a sensor resolves; inputs are rounded to it."""

SMALLEST: Final = 1e-100
"""Spreads must be large enough to be divided by."""

_MAD_TO_DEVIATION: Final = 0.6745
"""The median absolute deviation of a standard normal distribution."""
_MEAN_AD_TO_DEVIATION: Final = 0.7979
"""Its mean absolute deviation, for windows whose median absolute deviation is 0."""


def rounded(value: float) -> float:
    """Return the value to three significant digits; what is smaller than anything measured is 0."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if abs(value) >= SMALLEST else 0.0


def rolling_statistics(window: Window) -> dict[str, float]:
    """Return mean, population standard deviation, minimum and maximum."""
    return {
        "mean": statistics.fmean(window),
        "deviation": statistics.pstdev(window),
        "min": min(window),
        "max": max(window),
    }


def anomaly_score(window: Window) -> dict[str, float]:
    """Return how far the latest value is from the window's median, in robust standard deviations.

    The modified z-score of Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993), who call
    a score over 3.5 an outlier. Where over half the window is one value, the median absolute
    deviation is 0, and the mean absolute deviation takes its place.
    """
    middle = statistics.median(window)
    distances = [abs(value - middle) for value in window]
    spread = statistics.median(distances) / _MAD_TO_DEVIATION or statistics.fmean(distances) / _MEAN_AD_TO_DEVIATION
    return {"score": (window[-1] - middle) / spread if spread else 0.0}


def compress_window(window: Window) -> dict[str, float]:
    """Return the bytes of the window as doubles and compressed, and their ratio.

    Bytes of equal significance are put together before zlib, as the shuffle filter of HDF5 and Blosc
    does: those of signs, exponents and first digits hardly differ from reading to reading.
    """
    plain = struct.pack(f"<{len(window)}d", *window)
    shuffled = b"".join(plain[place :: struct.calcsize("d")] for place in range(struct.calcsize("d")))
    packed = zlib.compress(shuffled, zlib.Z_BEST_COMPRESSION)
    return {"bytes": float(len(plain)), "compressed_bytes": float(len(packed)), "ratio": len(plain) / len(packed)}


FUNCTIONS: Final[Mapping[str, tuple[Function, int]]] = {
    "rolling_statistics": (rolling_statistics, 12),
    "anomaly_score": (anomaly_score, 8),
    "compress_window": (compress_window, 30),
}
"""What runs on every reading: a name, the function, and how many readings its window holds at most."""

WATCHED_FIELDS: Final = 2
"""The functions run over the first so many numeric fields of a reading; the others are synced as they are."""


def watched(fields: Mapping[str, Any]) -> dict[str, float]:
    """Return the first numeric fields of a reading, rounded."""
    numbers = [(name, rounded(value)) for name, value in fields.items() if isinstance(value, float)]
    return dict(numbers[:WATCHED_FIELDS])
