#!/usr/bin/env python3
"""Generate the blocking services (edge_redis/_services/blocking) from the asyncio ones (edge_redis/_services/aio).

    .venv/bin/python scripts/dev/generate_blocking.py           # write the files
    .venv/bin/python scripts/dev/generate_blocking.py --check   # exit status 1 where a file differs

Each line is rewritten by SUBSTITUTIONS, in code and docstrings alike; ruff then sorts the imports,
removes the unused ones and formats the file. Where the two APIs really differ, the source says so:

    await yield_to_loop()  # asyncio only
    # blocking only: self._run(reader.start())

A line with the first mark is left out; a line with the second one becomes code.
"""

from __future__ import annotations

import argparse
import difflib
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SERVICES: Final = ROOT / "edge_redis" / "_services"
SOURCE, TARGET = SERVICES / "aio", SERVICES / "blocking"
HEADER: Final = "# Generated from edge_redis/_services/aio/{name} by scripts/dev/generate_blocking.py. Do not edit.\n"

SUBSTITUTIONS: Final[Sequence[tuple[str, str]]] = (
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\b(\w+) \| Awaitable\[\1\]", r"\1"),
    (r"\bAwaitable\[(\w+)\] \| \1", r"\1"),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\baclose\b", "close"),
    (r"\bAsyncExitStack\b", "ExitStack"),
    (r"\bpush_async_callback\b", "callback"),
    (r"\bAsyncTrack\b", "Track"),
    (r"\bAsync(Client|LoopService|Probe|Runner|Service)\b", r"Blocking\1"),
    (r"\bcheck_asyncio_client\b", "check_blocking_client"),
    (r"\bTaskMembership\b", "ThreadMembership"),
    (r"\bconnect_async\b", "connect"),
    (r"\b(adapt_callback|adapt_sink|drop_namespace)_async\b", r"\1"),
    (r"\b_io\.asyncio_(listener|runner)\b", r"_io.blocking_\1"),
    (r"\b_services\.aio\b", "_services.blocking"),
    (r"\ban asyncio client\b", "a blocking client"),
)

ASYNCIO_ONLY: Final = re.compile(r"#.*\basyncio only\b")
BLOCKING_ONLY: Final = re.compile(r"# blocking only: ")


def convert(source: str, used: set[str]) -> str:
    """Return the blocking text for an asyncio source, before formatting; add the patterns that matched to ``used``."""
    lines = []
    for line in source.splitlines():
        if ASYNCIO_ONLY.search(line):
            continue
        if not BLOCKING_ONLY.search(line):
            for pattern, replacement in SUBSTITUTIONS:
                line, count = re.subn(pattern, replacement, line)  # noqa: PLW2901 -- rewritten step by step
                used.update([pattern] * bool(count))
        lines.append(BLOCKING_ONLY.sub("", line))
    return "\n".join(lines) + "\n"


def ruff(text: str, path: Path) -> str:
    """Return ``text`` with its imports sorted and the unused ones removed, formatted."""
    name = ["--stdin-filename", str(path), "-"]
    for step in (
        ["check", "--quiet", "--select", "F401,I001,UP028", "--fix-only", "--unsafe-fixes"],
        ["format", "--quiet"],
    ):
        command = [sys.executable, "-m", "ruff", *step, *name]
        text = subprocess.run(command, input=text, text=True, capture_output=True, check=True, cwd=ROOT).stdout
    return text


def generate() -> dict[Path, str]:
    """Return the text of each generated file by its path.

    Raises:
        SystemExit: a substitution matches nothing any more.

    """
    used: set[str] = set()
    files = {}
    for source in sorted(SOURCE.glob("*.py")):
        target = TARGET / source.name
        text = HEADER.format(name=source.name) + convert(source.read_text("utf-8"), used)
        files[target] = ruff(text, target)
    unused = [pattern for pattern, _ in SUBSTITUTIONS if pattern not in used]
    if unused:
        sys.exit(f"remove the substitutions that match nothing: {unused}")
    return files


def differing(files: dict[Path, str]) -> list[Path]:
    """Print how the files on disk differ from ``files``; return the paths that do."""
    found = [path for path in TARGET.glob("*.py") if path not in files]
    for path, text in files.items():
        present = path.read_text("utf-8") if path.exists() else ""
        if present != text:
            found.append(path)
            name = str(path.relative_to(ROOT))
            sys.stdout.writelines(
                difflib.unified_diff(present.splitlines(keepends=True), text.splitlines(keepends=True), name, name)
            )
    return found


def main() -> int:
    """Write or check the files; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file differs")
    options = parser.parse_args()
    files = generate()
    if options.check:
        found = differing(files)
        if found:
            print("run scripts/dev/generate_blocking.py:", *(path.relative_to(ROOT) for path in found), sep="\n  ")
        return int(bool(found))
    TARGET.mkdir(exist_ok=True)
    for path in TARGET.glob("*.py"):
        path.unlink()
    for path, text in files.items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
