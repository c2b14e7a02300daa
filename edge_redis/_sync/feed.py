"""A page of the cloud's feed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.error_text import describe_error
from edge_redis._sync.change import Change
from edge_redis.errors import InvalidArgumentError, InvalidTypeError, StoreReplyError

_log = logging.getLogger("edge_redis")

_TEXTS: Final = ("clock", "origin", "checksum", "ancestor", "signature")


@dataclass(frozen=True, slots=True)
class Feed:
    """A page of the scopes that changed in the cloud, each at its present state, and the position after the page.

    ``restarted`` says that the given cursor is not a position of this store (any more), so that the page is the
    first one: the store came back empty or older, or is another store. ``strategies`` are those by which edges push,
    by scope: an edge that has not written a scope decides by them. ``damaged`` names the scopes of the page whose
    state cannot be read, with the reason; they are skipped until they are rewritten. ``has_more`` says that the feed
    goes on after this page, which may be empty: none of the scopes that were looked at is one of those asked for.
    """

    cursor: str
    changes: list[tuple[str, Change]]
    restarted: bool = False
    strategies: dict[str, str] = field(default_factory=dict)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    has_more: bool = field(default=False, compare=False)
    is_checked: bool = field(default=False, compare=False, repr=False)
    """Set by RedisCloudStore, which has checked what it read: the worker does not check the page again."""


def check_page(found: object) -> Feed:
    """Return a page of a user's store, checked: unusable states are named as damaged, unusable scopes left out.

    Raises:
        StoreReplyError: it is no page.

    """
    try:
        return _check_page(found)
    except (TypeError, ValueError, AttributeError) as error:
        raise StoreReplyError(f"the cloud store returned no page of its feed: {describe_error(error)}") from error


def _check_page(found: object) -> Feed:
    if not isinstance(found, Feed):
        raise TypeError(f"changes_since returned {type(found).__name__}, not a Feed")
    cursor = validation.check_text("cursor", found.cursor)
    feed = Feed(cursor, [], bool(found.restarted), dict(found.strategies), has_more=bool(found.has_more))
    for scope, reason in found.damaged:
        if _is_scope(scope):
            feed.damaged.append((scope, str(reason)))
    for scope, change in found.changes:
        if not _is_scope(scope):
            continue
        fault = _find_fault(change)
        if fault:
            feed.damaged.append((scope, fault))
        else:
            feed.changes.append((scope, change))
    return feed


def _is_scope(scope: object) -> bool:
    try:
        validation.check_identifier("scope", scope)
    except (InvalidArgumentError, InvalidTypeError) as error:
        _log.error("a state of the cloud is left out: %s", error)
        return False
    return True


def _find_fault(change: Any) -> str:
    """Return why a change cannot be one, "" where it can."""
    if not isinstance(change, Change):
        return f"it is of type {type(change).__name__}, not a Change"
    if type(change.version) is not int or change.version < 0:
        return "its version is not one"
    body: object = change.body
    if not isinstance(body, (bytes, bytearray, memoryview)):
        return f"its body is of type {type(body).__name__}, not bytes"
    for name in _TEXTS:
        text = getattr(change, name)
        if type(text) is not str or not (text.isascii() or _is_encodable(text)):
            return f"its {name} is not text"
        if name != "origin" and text.split() not in ([], [text]):
            return f"its {name} has a space"
    return ""


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
