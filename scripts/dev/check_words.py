#!/usr/bin/env python3
"""Find words that this project does not use, with the term to use instead.

    python scripts/dev/check_words.py [--count] [PATH ...]

Read are Python, Lua, Markdown and shell files under version control. Words are looked for in
identifiers (split at underscores and capitals), comments, docstrings, messages and prose; names,
which are common words otherwise, in identifiers alone. Exits with 1 when one is found.
"""

from __future__ import annotations

import argparse
import io
import keyword
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
SUFFIXES: Final = (".py", ".lua", ".md", ".sh", ".toml", ".yml", ".yaml")

WORDS: Final = {
    "abreast": "gather",
    "bury": "record the exit",
    "buried": "recorded",
    "heir": "successor",
    "heirs": "successors",
    "last words": "last error",
    "main job": "demo site",
    "owe": "pending invalidations",
    "owed": "pending invalidations",
    "owes": "pending invalidations",
    "owing": "pending invalidations",
    "told": "a verb that says who does what: recorded, sent, known",
    "twin": "the other API, the asyncio class",
    "twins": "the other API, the asyncio classes",
    "vouched": "countersigned",
    "whoever": "name the subject: the caller, the process",
}
"""Never used, not even in prose."""

NAMES: Final = {
    "abroad": "standby",
    "duty": "Leader, leader lease",
    "ear": "listener",
    "ears": "connections",
    "room": "package, KeySpace",
    "rooms": "packages",
    "silence": "mass_outage",
    "subject": "Component, or the plain noun",
    "trouble": "error_mapping, failure",
    "troubles": "failures",
}
"""Parts of identifiers."""

IDENTIFIERS: Final = {
    "answered_without_store": "fallbacks",
    "at_once": "max_concurrency",
    "BlockingAsk": "Probe",
    "Brief": "Verdict",
    "Converse": "Session",
    "Further": "a coroutine",
    "give_way": "yield_to_loop",
    "Guarded": "ServerSpec",
    "leave_ghost": "add_ghost",
    "last_known": "stale_get",
    "meet_ghost": "on_ghost_hit",
    "NOTHING": "MISSING",
    "silence_over": "mass_outage_over",
    "turn_is_over": "should_yield",
    "withheld": "deferred",
    "Wish": "ServerSpec",
}
"""Whole identifiers."""

SELF: Final = ("scripts/dev/check_words.py",)

_PROSE: Final = re.compile(r"\b(" + "|".join(WORDS).replace(" ", r"\s+") + r")\b", re.IGNORECASE)
_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w*")
_LUA_COMMENT: Final = re.compile(r"--.*")
_LUA_STRING: Final = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""")


class Finding(NamedTuple):
    """A word at its place."""

    path: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        """Return the finding as a compiler does."""
        return f"{self.path}:{self.line}: {self.word!r}: use {self.instead}"


def find_in_prose(text: str) -> Iterator[tuple[str, str]]:
    """Yield each word of prose that is not used here, with its replacement."""
    for match in _PROSE.finditer(text.replace("_", " ")):
        word = re.sub(r"\s+", " ", match.group().lower())
        yield word, WORDS[word]


def find_in_identifier(name: str) -> Iterator[tuple[str, str]]:
    """Yield each part of an identifier that is not used here, with its replacement."""
    if name in IDENTIFIERS:
        yield name, IDENTIFIERS[name]
    parts = [part.lower() for part in _PARTS.findall(name)]
    for part in parts:
        if part in NAMES:
            yield name, NAMES[part]
    yield from find_in_prose(" ".join(parts))


def find_in_python(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, word and replacement for each finding in a Python file."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            found = find_in_identifier(token.string)
        elif token.type in (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)):
            found = find_in_prose(token.string)
        else:
            continue
        for word, instead in found:
            yield token.start[0], word, instead


def find_in_lua(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, word and replacement for each finding in a Lua file."""
    for number, line in enumerate(text.splitlines(), 1):
        code = _LUA_STRING.sub("", _LUA_COMMENT.sub("", line))
        for word, instead in find_in_prose(line):
            yield number, word, instead
        for name in _IDENTIFIER.findall(code):
            for word, instead in find_in_identifier(name):
                if word not in WORDS:
                    yield number, word, instead


def find_in_text(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, word and replacement for each finding in any other file."""
    for number, line in enumerate(text.splitlines(), 1):
        for word, instead in find_in_prose(line):
            yield number, word, instead


_READERS: Final = {".py": find_in_python, ".lua": find_in_lua}


def find_in_file(path: str) -> Iterator[Finding]:
    """Yield the findings of one file, its name included."""
    for part in Path(path).parts:
        for word, instead in find_in_identifier(Path(part).stem):
            yield Finding(path, 1, word, instead)
    text = (ROOT / path).read_text(encoding="utf-8")
    for line, word, instead in _READERS.get(Path(path).suffix, find_in_text)(text):
        yield Finding(path, line, word, instead)


def tracked_files() -> list[str]:
    """Return the paths of the files to read, relative to the project."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    paths = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for path in paths if path.endswith(SUFFIXES) and path not in SELF and (ROOT / path).exists()]


def main() -> int:
    """Print what is found; return the exit code."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", action="store_true", help="count findings by file")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files (default: all under version control)")
    options = parser.parse_args()
    paths = options.paths or tracked_files()
    findings = [finding for path in paths for finding in find_in_file(path)]
    if options.count:
        for path, count in Counter(finding.path for finding in findings).most_common():
            print(f"{count:5} {path}")
        return 0
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
