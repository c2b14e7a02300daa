"""The parameters in the URL of a view, and the page of a table that they select."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlencode

T = TypeVar("T")

Context: TypeAlias = dict[str, Any]
"""The values that a template is rendered with."""

ROWS_A_PAGE: Final = 50
_MAX_CHARS: Final = 2000
PARAMETERS: Final = ("id", "name", "key", "q", "verdict", "kind", "sort", "dir", "page")
"""The parameters that views read; others are ignored."""


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a view's URL."""

    values: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Query:
        """Return the parameters that views read, cut to a bounded length."""
        return cls(tuple((name, parameters[name][:_MAX_CHARS]) for name in PARAMETERS if parameters.get(name)))

    def get(self, name: str) -> str:
        """Return a parameter, empty where it is missing."""
        return dict(self.values).get(name, "")

    @property
    def page(self) -> int:
        """The page's number, from 1."""
        text = self.get("page")
        return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 6 else 1  # noqa: PLR2004

    def url(self, **changes: object) -> str:
        """Return the query string with other values; None or an empty one removes a parameter."""
        values = {**dict(self.values), **changes}
        return "?" + urlencode({name: str(value) for name, value in values.items() if value not in (None, "")})


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a table can be sorted by."""

    key: str
    title: str
    sort: str
    """aria-sort: ascending, descending or none."""
    url: str


@dataclass(frozen=True, slots=True)
class TablePage:
    """The rows of one page of a list."""

    rows: Sequence[Any]
    columns: Mapping[str, Column]
    total: int
    page: int
    pages: int
    query: Query = field(default_factory=Query)

    @property
    def first(self) -> int:
        """The number of the first row of the page."""
        return (self.page - 1) * ROWS_A_PAGE + 1 if self.rows else 0

    @property
    def last(self) -> int:
        """The number of the last row of the page."""
        return (self.page - 1) * ROWS_A_PAGE + len(self.rows)


def make_table(
    rows: Iterable[T],
    query: Query,
    sorts: Mapping[str, tuple[str, Callable[[T], Any]]],
    default: str,
) -> TablePage:
    """Return one page of rows in the order that the URL asks for.

    ``sorts`` names the columns: title and sort key. A ``default`` that begins with "-" is descending. Equal rows
    keep the order in which they are given.
    """
    wanted, descending = query.get("sort"), query.get("dir") == "desc"
    if wanted not in sorts:
        wanted, descending = default.removeprefix("-"), default.startswith("-")
    ordered = sorted(rows, key=sorts[wanted][1], reverse=descending)
    pages = max(1, -(-len(ordered) // ROWS_A_PAGE))
    page = min(query.page, pages)
    columns = {
        key: Column(
            key,
            title,
            ("descending" if descending else "ascending") if key == wanted else "none",
            query.url(sort=key, dir="asc" if key == wanted and descending else "desc", page=None),
        )
        for key, (title, _) in sorts.items()
    }
    start = (page - 1) * ROWS_A_PAGE
    return TablePage(ordered[start : start + ROWS_A_PAGE], columns, len(ordered), page, pages, query)


def matches(text: str, *candidates: str) -> bool:
    """Return whether one of the candidates contains a text, whatever its case."""
    wanted = text.casefold()
    return any(wanted in candidate.casefold() for candidate in candidates)
