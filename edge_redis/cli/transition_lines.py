"""Transitions of nodes as lines of text."""

from __future__ import annotations

from typing import Any, Final

from edge_redis.cli import output

FLEET: Final = "(fleet)"
"""Shown in place of a node for a transition of the whole fleet."""


def format_transition(change: Any) -> str:
    """Return a transition as a line: time, node, state, the state before, reason."""
    node = output.printable(change.node_id) if change.node_id else FLEET
    reason = output.printable(change.reason)
    return f"{change.at:%Y-%m-%d %H:%M:%S}Z  {node}  {change.state}  (was {change.previous})  {reason}"


def print_transition(change: Any, *, as_json: bool) -> None:
    """Print a transition on standard output."""
    if as_json:
        output.print_json(change)
    else:
        print(format_transition(change), flush=True)
