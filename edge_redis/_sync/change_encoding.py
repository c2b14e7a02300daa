"""Changes as arguments of a script: each a splice of the state before it where that is smaller."""

from __future__ import annotations

from collections.abc import Sequence

from edge_redis._sync.change import Change
from edge_redis._sync.splice import MIN_BODY_BYTES, apply_splice, make_splice
from edge_redis._sync.wire import PREVIOUS, format_change, format_spliced


def encode_changes(changes: Sequence[Change], base: Change | None) -> tuple[list[bytes], int]:
    """Return changes, and how many of them are splices: of the change before each, the first one of ``base``."""
    words: list[bytes] = []
    splices = 0
    before, name = base, "" if base is None else base.checksum
    for change in changes:
        body = change.body
        splice = None if before is None or len(body) < MIN_BODY_BYTES else make_exact_splice(before.body, body)
        splices += splice is not None
        words.append(format_change(change) if splice is None else format_spliced(change, name, splice))
        before, name = change, PREVIOUS
    return words, splices


def make_exact_splice(base: bytes, result: bytes) -> bytes | None:
    """Return a splice from which the result was rebuilt here, None where there is none: the server cannot check it."""
    splice = make_splice(base, result)
    return splice if splice is None or apply_splice(base, splice) == result else None
