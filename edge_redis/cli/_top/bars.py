"""The two bars at the top of the screen: the state of the site, and the views."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from edge_redis._site.state import SiteState
from edge_redis.cli._top.styles import BAD, DIM, GOOD, WARN, clock, line, word


def title(state: SiteState | None, problem: str, *, is_paused: bool) -> Text:
    """Return the bar of the site: its problems and the time of the reading, or why there is none."""
    if problem:
        return line((" no answer ", "bold white on red"), " ", (problem, BAD))
    if state is None:
        return Text("reading ...", style=DIM)
    unhealthy, dead_letters = state.fleet.count("unhealthy"), state.sync.dead_letters
    return line(
        word(state.namespace, "bold"),
        ("  ", ""),
        (f"{unhealthy:,} of {len(state.fleet.nodes):,} nodes unhealthy", BAD if unhealthy else GOOD),
        (f"  {dead_letters:,} dead letters" if dead_letters else "", BAD),
        ("  paused" if is_paused else "", WARN),
        (f"  {clock(state.read_at)} UTC", DIM),
    )


def views(names: Sequence[str], shown: str, opened: tuple[str, str] | None, sort: str) -> Text:
    """Return the bar of the views, with the name of an opened row, or the order of the rows."""
    parts: list[Text | tuple[str, str]] = []
    for number, name in enumerate(names, 1):
        parts.append((f" {number} {name} ", "reverse" if name == shown else ""))
        parts.append((" ", ""))
    if opened is not None:
        parts.append(line(("> ", DIM), word(opened[1], "bold")))
    elif shown == "functions":
        parts.append((f"by {sort.removesuffix('_ms')}", DIM))
    return line(*parts)
