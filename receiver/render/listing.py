"""The list of a service's incidents on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from receiver.render.sheet import BOLD, DIM, Sheet, plain


def incidents_table(rows: Iterable[Mapping[str, Any]], width: int, *, colour: bool = False) -> str:
    """One row for each incident: its id and end, and beside them its cause and summary."""
    sheet = Sheet(width, colour=colour)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold", ratio=1)
    for row in rows:
        when = str(row["ended"] or "running").partition(".")[0].replace("T", " ")
        what = plain(str(row["cause"] or row["verdict"]), BOLD)
        what.append_text(plain(f"  {row['task']}: {row['summary']}"))
        grid.add_row(plain(str(row["id"]), BOLD).append("\n").append_text(plain(when, DIM)), what)
    sheet.add(grid)
    return sheet.text()
