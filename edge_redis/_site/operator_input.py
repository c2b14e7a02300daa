"""Values that operators type, on the command line or into a form of the page."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from edge_redis.errors import InvalidArgumentError

_UNIT_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as ``90``, ``30s``, ``15m``, ``2h`` or ``3d``.

    Raises:
        InvalidArgumentError: the text is not a duration.

    """
    has_unit = text[-1:] in _UNIT_SECONDS
    digits, unit = (text[:-1], _UNIT_SECONDS[text[-1]]) if has_unit else (text, 1.0)
    try:
        seconds = float(digits) * unit
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidArgumentError(f"{text!r} is not a duration: write a number and s, m, h or d, such as 30m")
    return seconds


def parse_object(name: str, text: str) -> dict[str, Any]:
    """Return the dict of a JSON object; ``name`` is that of the value in an error's message.

    Raises:
        InvalidArgumentError: the text is not a JSON object.

    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{name} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{name} must be a JSON object")
    return value
