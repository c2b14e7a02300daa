"""Bodies that do not pass the link to the database: left unread, known already, or written as a splice of the row's.

A body of the database is named by the checksum in its row's head. A body that this store object has sent or read before
is known by that name, and is not read again. In PostgreSQL a new body that resembles the known one is written as an
expression over the row's, and only where the SHA-256 of the result is that of the new body.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, Final

from sqlalchemy import ColumnElement, LargeBinary, Subquery, case, func, literal, select

from edge_redis._sync.change import Change
from edge_redis._sync.change_encoding import make_exact_splice
from edge_redis.cloudstores._tables import DOCUMENTS, readable

_MAX_RUNS: Final = 32
"""Runs of a splice at most: each is two terms of an expression."""


class UnreadBody(bytes):
    """The first byte of a body that was not read: it tells merged fields from other bodies, and a delete has none."""


def first_byte() -> ColumnElement[bytes]:
    """Return the first byte of the body column."""
    body = readable(DOCUMENTS.c.body)
    byte = func.substr(body, 1, 1, type_=LargeBinary)
    return case((func.length(body) == 0, body), else_=byte).label("first")  # of an empty one SQLite has no part


def select_spliced(here: ColumnElement[bool], base: Change, result: Change) -> Subquery | None:
    """Return a query of the row's key, and of the body of ``result`` made of the row's, which is that of ``base``.

    It finds no row where the body is not what it must be. None: the body is to be sent whole.
    """
    splice = make_exact_splice(base.body, result.body)
    if splice is None:
        return None
    head, _, replacements = splice.partition(b":")
    numbers = [*map(int, head.split())]
    if len(numbers) > 3 * _MAX_RUNS:
        return None
    # Concatenated, the body is taken out of its storage once, and OFFSET keeps the planner from doing it for each term.
    columns, nothing = DOCUMENTS.c, literal(b"", LargeBinary)
    whole = _concatenate(columns.body, nothing).label("body")
    row = select(columns.namespace, columns.scope, whole).where(here).offset(0).subquery()
    terms: list[ColumnElement[bytes]] = []
    position = taken = 0
    for index in range(0, len(numbers), 3):
        offset, length, size = numbers[index : index + 3]
        terms += [_part(row.c.body, position, offset), literal(replacements[taken : taken + size], LargeBinary)]
        position, taken = position + offset + length, taken + size
    terms.append(_part(row.c.body, position, len(base.body) - position))
    made = select(row.c.namespace, row.c.scope, _concatenate(*terms).label("body")).offset(0).subquery()
    return select(made).where(func.sha256(made.c.body) == bytes.fromhex(result.checksum)).subquery()


def _part(body: Any, position: int, length: int) -> ColumnElement[bytes]:
    return func.substr(body, position + 1, length, type_=LargeBinary)


def _concatenate(*terms: ColumnElement[bytes]) -> ColumnElement[bytes]:
    return reduce(lambda before, term: before.op("||", return_type=LargeBinary())(term), terms)
