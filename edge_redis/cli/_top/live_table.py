"""A list that keeps its cursor while its rows change."""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from rich.text import Text
from textual.widgets import DataTable

from edge_redis.cli._top.tables import Table

_PADDING = 2
_LEAST_CUT = 12


class LiveTable(DataTable[Text]):
    """Shows a Table; columns that do not fit are left out from the right, the first is always there."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, **options)
        self._shown: Table = Table((), ())

    def show(self, table: Table, width: int) -> None:
        """Show the rows; the cursor stays on the row of its key."""
        table = _fit(table, width)
        same_rows = [key for key, _ in table.rows] == [key for key, _ in self._shown.rows]
        if same_rows and table.columns == self._shown.columns:
            self._update(table)
        else:
            self._replace(table)
        self._shown = table

    @property
    def chosen(self) -> str | None:
        """The key of the row under the cursor."""
        rows = self._shown.rows
        return rows[self.cursor_row][0] if 0 <= self.cursor_row < len(rows) else None

    def _update(self, table: Table) -> None:
        for (key, cells), (_, before) in zip(table.rows, self._shown.rows, strict=True):
            for column, cell, shown in zip(table.columns, cells, before, strict=True):
                if cell != shown:
                    self.update_cell(key, column, cell, update_width=True)

    def _replace(self, table: Table) -> None:
        chosen, at = self.chosen, self.cursor_row
        self.clear(columns=True)
        for column in table.columns:
            self.add_column(Text(column), key=column)
        for key, cells in table.rows:
            self.add_row(*cells, key=key)
        keys = [key for key, _ in table.rows]
        self.move_cursor(row=keys.index(chosen) if chosen in keys else min(at, len(keys) - 1))


def _fit(table: Table, width: int) -> Table:
    """Return the table without the columns that do not fit; the one that may be cut is, while some of it fits."""
    sizes = [
        max([cell_len(column), *(cell.cell_len for cell in cells)]) + _PADDING
        for column, *cells in zip(table.columns, *(cells for _, cells in table.rows), strict=True)
    ]
    count = len(sizes)
    while count > 1 and sum(sizes[:count]) > width:
        count -= 1
    rows = table.rows
    left = width - sum(sizes[:count]) - _PADDING
    if count < len(sizes) and table.columns[count] == table.cut and left >= _LEAST_CUT:
        rows = [(key, (*cells[:count], _cut(cells[count], left))) for key, cells in rows]
        count += 1
    return Table(table.columns[:count], [(key, cells[:count]) for key, cells in rows], table.cut)


def _cut(cell: Text, width: int) -> Text:
    made = cell.copy()
    made.truncate(width, overflow="ellipsis")
    return made
