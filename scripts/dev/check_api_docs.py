#!/usr/bin/env python3
"""Check that a static reader of the source finds every public name with a signature and a docstring.

It reads the package as documentation generators do, without importing it: classes and functions
of the public modules, and each class's public methods and properties, inherited ones included.

    .venv/bin/python scripts/dev/check_api_docs.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[2]
MODULES = (
    "edge_redis",
    "edge_redis.aio",
    "edge_redis.cloudstores",
    "edge_redis.cloudstores.sql",
    "edge_redis.dashboard",
    "edge_redis.embedded",
    "edge_redis.errors",
    "edge_redis.exporters.opentelemetry",
    "edge_redis.exporters.prometheus",
    "edge_redis.integrations.apscheduler",
    "edge_redis.integrations.django",
    "edge_redis.integrations.dogpile",
    "edge_redis.integrations.flask_caching",
    "edge_redis.integrations.starlette",
    "edge_redis.models",
    "edge_redis.probes",
    "edge_redis.settings",
    "edge_redis.testing",
    "edge_redis.types",
)
FIRST_LINE_CHARACTERS = 120


def public_names(module: griffe.Object | griffe.Alias) -> list[str]:
    """Return what the module exports: its ``__all__``, else its own names without an underscore."""
    if module.exports is not None:
        return [str(name) for name in module.exports]
    return [name for name, member in module.members.items() if not name.startswith("_") and not member.is_alias]


def faults(path: str, found: griffe.Object | griffe.Alias) -> Iterator[str]:
    """Yield what is missing of a public name, and of its members if it is a class."""
    if found.is_module or (found.is_attribute and found.parent is not None and found.parent.is_module):
        return
    if not found.has_docstring:
        yield f"{path}: no docstring"
    elif len(found.docstring.value.splitlines()[0]) > FIRST_LINE_CHARACTERS:  # type: ignore[union-attr]
        yield f"{path}: the first line of its docstring is longer than {FIRST_LINE_CHARACTERS} characters"
    if found.is_class:
        for name, member in found.all_members.items():
            if not name.startswith("_") and (member.is_function or "property" in member.labels):
                yield from faults(f"{path}.{name}", member)


def main() -> int:
    """Print each fault; return 1 where there is one."""
    package = griffe.load("edge_redis", search_paths=[ROOT], resolve_aliases=True, resolve_external=False)
    found: list[str] = []
    for name in MODULES:
        module = package if name == "edge_redis" else package[name.removeprefix("edge_redis.")]
        for public in public_names(module):
            found += faults(f"{name}.{public}", module[public])
    print(*sorted(set(found)), sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
