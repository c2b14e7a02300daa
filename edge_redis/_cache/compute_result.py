"""Turns the result of a function into the entry to store."""

from __future__ import annotations

from typing import Any, NamedTuple

from edge_redis._cache.arguments import NEVER_MS, pack_tags
from edge_redis._cache.compute_request import ComputeRequest, NoStore
from edge_redis._cache.entry import add_computed
from edge_redis._cache.entry_writer import EntryWriter
from edge_redis._cache.script_requests import EncodedEntry


class ComputedResult(NamedTuple):
    """The result of a function, checked and encoded."""

    value: Any
    entry: EncodedEntry | None
    """The entry to store; None for NoStore."""
    tags: str = ""
    """Packed."""


def prepare_result(writer: EntryWriter, request: ComputeRequest, result: Any, cost_ms: float) -> ComputedResult:
    """Return the value and the entry of ``result``, which the function of ``request`` returned after ``cost_ms``."""
    if isinstance(result, NoStore):
        return ComputedResult(result.value, None)
    options = request.options
    stale_ms = options.stale_ms
    if result is None and options.negative_ttl is not None:
        lifetime_ms, stale_ms = writer.choose_ttl_ms(options.negative_ttl), 0
    else:
        lifetime_ms = writer.choose_ttl_ms(request.ttl(result) if callable(request.ttl) else request.ttl)
    if lifetime_ms != NEVER_MS:
        lifetime_ms += stale_ms
    entry = writer.encode_entry_for(request.key, result, lifetime_ms)
    if not options.accepts_stale:
        entry = entry._replace(body=add_computed(entry.body, cost_ms, stale_ms))
    return ComputedResult(result, entry, pack_tags(options.tags(result)) if callable(options.tags) else options.tags)
