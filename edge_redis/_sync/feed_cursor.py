"""The position of a reader in the feeds of a cloud with several shards, as one text.

It has the ids of the stores, a colon, and the numbers, as in ``a,b,c:5,0,7``: so what precedes the colon names the
cloud, as it does where there is one feed. Ids of shards that were moved stay in it until the reader has had all of
their scopes in the new ones (``cloud_shards.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_SEVERAL: Final = re.compile(r"[^\s,]+(?:,[^\s,]+)*:\d{1,16}(?:,\d{1,16})*", re.ASCII)


def has_several(ids: str, numbers: str) -> bool:
    """Return whether these are positions in several feeds."""
    return ids.count(",") == numbers.count(",") and _SEVERAL.fullmatch(f"{ids}:{numbers}") is not None


def split_cursor(cursor: str) -> dict[str, str]:
    """Return the number for each id. What is no position is that of a store that nobody knows."""
    ids, _, numbers = cursor.rpartition(":")
    if ids.count(",") != numbers.count(","):
        return {cursor: ""}
    found = dict(zip(ids.split(","), numbers.split(","), strict=True))
    found.pop("", None)  # of a feed that was not read yet
    return found if found or not cursor.strip(",:") else {cursor: ""}


def join_cursor(numbers: Mapping[str, str]) -> str:
    """Return the positions as one text; "" where there are none."""
    return f"{','.join(numbers)}:{','.join(numbers.values())}" if numbers else ""
