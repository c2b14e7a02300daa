#!/usr/bin/env python3
"""Write docs/reference/options.md: every constructor option of every public class.

Names, types and defaults come from the signatures, meanings from the ``Args:`` sections of the
docstrings. Units are in UNITS here, or follow from the end of the name.

    .venv/bin/python scripts/dev/generate_options.py          # write the page
    .venv/bin/python scripts/dev/generate_options.py --check  # exit status 1 where the page is out of date
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import edge_redis
from edge_redis.cloudstores.sql import SqlCloudStore
from edge_redis.exporters.opentelemetry import EdgeExporter
from edge_redis.exporters.prometheus import EdgeCollector, Endpoint
from edge_redis.probes import HttpProbe, MetadataAddress, TcpProbe, TlsProbe
from edge_redis.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "options.md"

GROUPS: dict[str, list[tuple[str, Callable[..., Any]]]] = {
    "Connecting": [
        ("EdgeRedis", edge_redis.EdgeRedis),
        ("connect", edge_redis.connect),
        ("Settings", Settings),
        ("embedded.start", edge_redis.embedded.start),
    ],
    "Cache": [
        ("EdgeCache", edge_redis.EdgeCache),
        ("NearCache", edge_redis.NearCache),
        ("TypeCodec", edge_redis.TypeCodec),
    ],
    "Health": [
        ("HealthMonitor", edge_redis.HealthMonitor),
        ("HealthWatch", edge_redis.HealthWatch),
        ("FlapThresholds", edge_redis.FlapThresholds),
        ("FlapRate", edge_redis.FlapRate),
        ("TransitionRelay", edge_redis.TransitionRelay),
        ("WebhookSink", edge_redis.WebhookSink),
        ("ExecSink", edge_redis.ExecSink),
    ],
    "Probes": [
        ("TcpProbe", TcpProbe),
        ("HttpProbe", HttpProbe),
        ("TlsProbe", TlsProbe),
        ("MetadataAddress", MetadataAddress),
    ],
    "Metrics": [
        ("EdgeMetrics", edge_redis.EdgeMetrics),
        ("EdgeCollector", EdgeCollector),
        ("Endpoint", Endpoint),
        ("EdgeExporter", EdgeExporter),
    ],
    "Synchronization": [
        ("EdgeSynchronizer", edge_redis.EdgeSynchronizer),
        ("CloudWorker", edge_redis.CloudWorker),
        ("NamespaceWorkers", edge_redis.NamespaceWorkers),
        ("RedisCloudStore", edge_redis.RedisCloudStore),
        ("SqlCloudStore", SqlCloudStore),
    ],
}

UNITS = {
    "attempts": "attempts",
    "batch_size": "changes",
    "default_ttl": "seconds",
    "EdgeCache.flush_every": "reads",
    "EdgeMetrics.flush_every": "records",
    "flush_interval": "seconds",
    "FlapRate.changes": "changes",
    "FlapThresholds.window": "checks",
    "heartbeat_timeout": "seconds",
    "max_bytes_per_second": "bytes per second",
    "max_conflicts": "conflicts",
    "max_connections": "connections",
    "max_deliveries": "attempts",
    "max_errors": "records",
    "max_fields": "fields",
    "EdgeSynchronizer.max_history": "exchanges",
    "HealthMonitor.max_history": "checks",
    "HealthWatch.max_history": "checks",
    "RedisCloudStore.max_history": "changes",
    "SqlCloudStore.max_history": "changes",
    "max_pending": "changes",
    "max_recent": "records",
    "max_series": "pairs",
    "max_size": "entries",
    "max_transitions": "transitions",
    "NearCache.size": "entries",
    "NearCache.ttl": "seconds",
    "min_days": "days",
    "phi_threshold": "phi",
    "port": "port",
    "shards": "shards",
    "socket_connect_timeout": "seconds",
    "socket_timeout": "seconds",
    "statuses": "HTTP statuses",
    "timeout": "seconds",
    "TypeCodec.code": "code",
    "ttl_jitter": "share, 0 to 1",
}
ENDINGS = {"_seconds": "seconds", "_ms": "ms", "_bytes": "bytes", "_minutes": "minutes", "_percent": "percent"}

HEAD = """# Options

<!-- Made by scripts/dev/generate_options.py from the signatures and docstrings. Do not edit. -->

Every option of every public constructor. Options after `*` are given by keyword. The classes of `edge_redis.aio` have
the same options. A wrong value raises `InvalidArgumentError` (also a `ValueError`), a wrong type `InvalidTypeError`
(also a `TypeError`), before anything is sent.
"""

_ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): +(.*)$")


def arguments_of(documented: object) -> dict[str, str]:
    """Return the entries of a docstring's ``Args:`` (or ``Attributes:``) section by name."""
    text = inspect.getdoc(documented) or ""
    found: dict[str, str] = {}
    for section in re.findall(r"^(?:Args|Attributes):\n((?: +.*\n?|\n)+)", text, re.MULTILINE):
        names: list[str] = []
        for line in textwrap.dedent(section).splitlines():
            entry = _ENTRY.match(line)
            if entry:
                names = [name.lstrip("*") for name in entry[1].split(", ")]
                found |= dict.fromkeys(names, entry[2])
            elif line.strip():
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def unit_of(owner: str, name: str, kind: str) -> str:
    """Return the unit of an option, an empty string where it is no number.

    Raises:
        SystemExit: a number has no unit.

    """
    ending = next((unit for end, unit in ENDINGS.items() if name.endswith(end)), "")
    unit = UNITS.get(f"{owner}.{name}") or UNITS.get(name) or ending
    is_number = re.search(r"\b(int|float)\b", kind) is not None
    if is_number and not unit:
        raise SystemExit(f"{owner}.{name} is a number without a unit: name it in UNITS")
    return unit if is_number else ""


def rows(owner: str, target: Callable[..., Any]) -> Iterator[str]:
    """Yield the lines of an owner's table.

    Raises:
        SystemExit: an option is not described in the docstring.

    """
    described = arguments_of(target) | arguments_of(getattr(target, "__init__", None))
    yield "| option | type | default | unit | meaning |"
    yield "|---|---|---|---|---|"
    keyword_only = False
    for name, parameter in inspect.signature(target).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            yield "| `*` | | | | the following are given by keyword |"
        if name not in described:
            raise SystemExit(f"{owner}: its docstring does not describe {name} under Args")
        kind = type_text(target, parameter.annotation)
        default = "required" if parameter.default is parameter.empty else f"`{visible_data(parameter.default)}`"
        if parameter.kind is parameter.VAR_KEYWORD:
            default = "none"
        cells = (f"`{name}`", f"`{kind}`", default, unit_of(owner, name, kind), sentence(described[name]))
        yield "| " + " | ".join(cell.replace(" | ", " or ") for cell in cells) + " |"


def type_text(target: Callable[..., Any], annotation: object) -> str:
    """Return an annotation as text, with the values of a ``Literal`` in place of its name."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", None)
    if text is None:
        text = re.sub(r"\b(collections\.abc|typing)\.", "", inspect.formatannotation(annotation))
    known = getattr(target, "__globals__", None) or getattr(target.__init__, "__globals__", {})

    def values(word: re.Match[str]) -> str:
        found = known.get(word[0])
        return ", ".join(f'"{value}"' for value in get_args(found)) if get_origin(found) is Literal else word[0]

    return re.sub(r"\b[A-Z]\w+", values, text)


def visible_data(default: object) -> str:
    """Return a default as the caller would write it."""
    if isinstance(default, int) and not isinstance(default, bool):
        return f"{default:_}" if default >= 10_000 else str(default)  # noqa: PLR2004 -- as long numbers are written
    if type(default) is str:
        return f'"{default}"'
    return f"{type(default).__name__}.{default.name}" if isinstance(default, Enum) else repr(default)


def sentence(text: str) -> str:
    """Return a description with a capital letter, a full stop and single backticks."""
    text = text.strip().replace("``", "`")
    text = text if text.startswith("`") else text[:1].upper() + text[1:]
    return text if text.endswith((".", ")")) else f"{text}."


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for group, members in GROUPS.items():
        parts.append(f"\n## {group}\n")
        for name, target in members:
            parts += [f"\n### {name}\n\n", "\n".join(rows(name, target)), "\n"]
    return "".join(parts)


def main() -> int:
    """Write the page or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where it is out of date")
    made = page()
    if not parser.parse_args().check:
        PAGE.write_text(made)
        return 0
    if PAGE.read_text() == made:
        return 0
    print(f"{PAGE} is out of date: run scripts/dev/generate_options.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
