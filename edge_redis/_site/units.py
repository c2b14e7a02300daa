"""Numbers with units, as the command line and the page show them."""

from __future__ import annotations


def format_bytes(count: float) -> str:
    """Return a number of bytes with its unit."""
    unit = "B"
    for larger in ("kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004
            break
        count, unit = count / 1000, larger
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
