"""The hash slots of a cluster, and names whose slots lie in a given part of them."""

from __future__ import annotations

import binascii
from itertools import count, islice
from typing import Final

SLOTS: Final = 16384


def hash_slot(text: str) -> int:
    """Return the cluster's slot of a hash tag's text: CRC-16/XMODEM modulo 16,384."""
    return binascii.crc_hqx(text.encode(), 0) % SLOTS


def name_in_part(prefix: str, stem: str, number: int, shards: int, passed: int = 0) -> str:
    """Return the first of the names ``<stem>0``, ``<stem>1``... whose slot, after ``prefix``, is in part ``number``.

    So many are passed over.
    """
    names = (f"{stem}{attempt}" for attempt in count())
    found = (name for name in names if hash_slot(prefix + name) * shards // SLOTS == number)
    return next(islice(found, passed, None))


def count_in_part(prefix: str, stem: str, number: int, shards: int, attempts: int) -> int:
    """Return how many of the first ``attempts`` names have their slot in part ``number``."""
    slots = (hash_slot(f"{prefix}{stem}{attempt}") for attempt in range(attempts))
    return sum(slot * shards // SLOTS == number for slot in slots)
