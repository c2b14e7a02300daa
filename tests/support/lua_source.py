"""Reads Lua source for the checks of scripts: which names, keys and arguments a piece of it uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

KEYWORDS: Final = frozenset(
    """
    and break do else elseif end false for function if in local nil not or repeat return then true until
    while
    """.split()  # noqa: SIM905 -- a table of words
)
GLOBALS: Final = frozenset(
    """
    KEYS ARGV redis string table math cjson tonumber tostring type pairs ipairs next unpack select pcall
    error
    """.split()  # noqa: SIM905 -- a table of words
)

_TOKEN: Final = re.compile(
    r"--\[\[.*?\]\]|--[^\n]*|\[\[.*?\]\]|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\""
    r"|[A-Za-z_]\w*|\d[\w.]*|\.\.\.|\.\.|[<>=~]=|\S",
    re.DOTALL,
)
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_FIXED: Final = r"\b{}\s*\[\s*(\d+)\s*\]"
_OTHER: Final = r"\b{}\b(?!\s*\[\s*\d+\s*\])"
_DECLARED: Final = r"^-- {}\[(\d+)(\.\.)?\]"
_UNPACKED: Final = r"local\s+([\w\s,]+?)\s*=\s*unpack\({}\)"


def _tokens(source: str) -> list[str]:
    return [token for token in _TOKEN.findall(source) if not token.startswith("--")]


def strip_comments(source: str) -> str:
    """Return Lua source without its comments."""
    return _TOKEN.sub(lambda found: "" if found[0].startswith("--") else found[0], source)


def find_names(source: str) -> tuple[set[str], set[str]]:
    """Return the names that a piece of Lua declares anywhere in it, and those that it uses and does not declare."""
    tokens = _tokens(source)
    declared = set(_declared(tokens))
    used = {
        token
        for before, token, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False)
        if _NAME.fullmatch(token)
        and token not in KEYWORDS
        and before not in {".", ":"}
        and not (after == "=" and before in {"{", ","} and _is_field(token, declared))
    }
    return declared, used - declared - GLOBALS


def _is_field(name: str, declared: set[str]) -> bool:
    return name not in declared


def _declared(tokens: list[str]) -> Iterator[str]:
    for at, token in enumerate(tokens):
        if token == "function":
            yield from _function(tokens, at)
        elif token in {"local", "for"} and tokens[at + 1] != "function":
            place = at + 1
            yield tokens[place]
            while tokens[place + 1] == ",":
                place += 2
                yield tokens[place]


def _function(tokens: list[str], at: int) -> Iterator[str]:
    place = at + 1
    if tokens[place] != "(":
        yield tokens[place]
        place += 1
    for token in tokens[place + 1 : tokens.index(")", place)]:
        if token not in {",", "..."}:
            yield token


def check_parameters(kind: str, header: str, body: str) -> list[str]:
    """Return what is wrong between the KEYS or ARGV that a header declares and those that the script uses."""
    declared = [(int(index), bool(dots)) for index, dots in re.findall(_DECLARED.format(kind), header, re.MULTILINE)]
    fixed = {index for index, is_open in declared if not is_open}
    is_open = any(dots for _, dots in declared)
    code = strip_comments(body)
    used = {int(index) for index in re.findall(_FIXED.format(kind), code)}
    for names in re.findall(_UNPACKED.format(kind), code):
        used |= set(range(1, len(names.split(",")) + 1))
    is_walked = re.search(_OTHER.format(kind), re.sub(_UNPACKED.format(kind), "", code)) is not None
    problems = [f"{kind}[{index}] is used and not declared" for index in sorted(used - fixed) if not is_open]
    problems += [f"{kind}[{index}] is declared and not used" for index in sorted(fixed - used)]
    if is_open and not is_walked:
        problems.append(f"{kind} is declared open and never walked")
    if is_walked and not is_open:
        problems.append(f"{kind} is walked and not declared open")
    return problems


def needs_of(include: str) -> set[str]:
    """Return the names that an include declares to take from the script around it."""
    found = re.search(r"^-- Needs: (.*(?:\n--   .*)*)", include, re.MULTILINE)
    return set() if found is None else set(re.findall(r"[A-Za-z_]\w*(?:\[\d+(?:\.\.)?\])?", found[1]))
