"""Conditional writes: a version is written only where the scope is at the version that the caller knows.

A scope that was deleted is at the version of its delete, and has no state: so it is also at version 0, as a scope that
was never written or was purged is. ``lua/update.lua`` decides, but where merged fields may be a delete: only the
caller can read them.
"""

from __future__ import annotations

from typing import Final

from edge_redis._core import validation
from edge_redis._sync import fields, wire
from edge_redis._sync.change import visible_data
from edge_redis._sync.limits import MAX_VERSION
from edge_redis.errors import VersionMismatchError

NO_STATE: Final = 0
"""The version of a scope without a state."""


def check_if_version(if_version: object) -> int:
    """Return the version that a scope must be at, as users pass it."""
    return validation.check_integer("if_version", if_version, least=0, most=MAX_VERSION)


def version_mismatch(if_version: int, version: int) -> VersionMismatchError:
    """Return the error for a scope that is not at the version that the caller knows."""
    wanted = f"not at {if_version}" if if_version else "and if_version=0 means that it must have no state"
    return VersionMismatchError(f"the scope is at version {version}, {wanted}", version=version)


def check_version(if_version: int | None, version: int, body: bytes) -> None:
    """Raise VersionMismatchError where a scope with this state is not at the version that the caller knows."""
    if if_version is None or if_version == version:
        return
    if if_version != NO_STATE or visible_data(body) is not None:
        raise version_mismatch(if_version, version)


class VersionGuard:
    """The condition of one write, for each of its tries."""

    def __init__(self, if_version: int) -> None:
        self._if_version = if_version
        self.word = str(if_version)
        """The condition that the script checks."""

    def check_present(self, version: int, body: bytes) -> None:
        """Check a state that the script has just found, and which the next try is made of.

        Raises:
            VersionMismatchError: the scope has a state, and must have none.

        """
        if self._if_version != NO_STATE:
            return
        is_merged = fields.is_merged(body)
        if is_merged:
            check_version(self._if_version, version, body)
        self.word = wire.NONE if is_merged else str(self._if_version)
