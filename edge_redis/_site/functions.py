"""The functions that an edge node runs over the latest values of a field. They are pure.

Each takes a window: the latest values, oldest first, rounded by ``round_to_resolution``. Values that
differ by less than a sensor resolves are then equal input, and their result can come from the cache.
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
"""Inputs are rounded to this many digits, about the resolution of a sensor."""

SMALLEST: Final = 1e-100
"""Smaller inputs become 0, so that no spread is too small to divide by."""

_MAD_TO_DEVIATION: Final = 0.6745
"""The median absolute deviation of a standard normal distribution."""
_MEAN_AD_TO_DEVIATION: Final = 0.7979
"""Its mean absolute deviation, for windows whose median absolute deviation is 0."""


def round_to_resolution(value: float) -> float:
    """Return the value rounded to three significant digits, and 0 for magnitudes below ``SMALLEST``."""
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
    """Return the latest value's distance from the window's median, in robust standard deviations.

    The modified z-score of Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993), who call
    a score over 3.5 an outlier. When more than half of the window is one value, the median absolute
    deviation is 0, and the mean absolute deviation is used instead.
    """
    middle = statistics.median(window)
    distances = [abs(value - middle) for value in window]
    spread = statistics.median(distances) / _MAD_TO_DEVIATION or statistics.fmean(distances) / _MEAN_AD_TO_DEVIATION
    return {"score": (window[-1] - middle) / spread if spread else 0.0}


def compress_window(window: Window) -> dict[str, float]:
    """Return the window's size in bytes as doubles, its compressed size, and their ratio.

    Bytes of equal significance are placed side by side before zlib, as the shuffle filter of HDF5 and
    Blosc does: those of signs, exponents and first digits hardly differ from reading to reading.
    """
    plain = struct.pack(f"<{len(window)}d", *window)
    shuffled = b"".join(plain[offset :: struct.calcsize("d")] for offset in range(struct.calcsize("d")))
    packed = zlib.compress(shuffled, zlib.Z_BEST_COMPRESSION)
    return {"bytes": float(len(plain)), "compressed_bytes": float(len(packed)), "ratio": len(plain) / len(packed)}


FUNCTIONS: Final[Mapping[str, tuple[Function, int]]] = {
    "rolling_statistics": (rolling_statistics, 12),
    "anomaly_score": (anomaly_score, 8),
    "compress_window": (compress_window, 30),
}
"""The functions run on every reading, by name, each with the length of its window in readings."""

WATCHED_FIELDS: Final = 2
"""Number of numeric fields of a reading, from the first, that the functions run over; other fields are only synced."""


def watched_values(fields: Mapping[str, Any]) -> dict[str, float]:
    """Return the values of a reading's first numeric fields, rounded."""
    numbers = [(name, round_to_resolution(value)) for name, value in fields.items() if isinstance(value, float)]
    return dict(numbers[:WATCHED_FIELDS])
