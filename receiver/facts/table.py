"""The base of every table of facts about processes."""

from __future__ import annotations

from collections import Counter
from typing import Generic, TypeVar

from receiver.events import ProcessKey

Row = TypeVar("Row")


class Table(Generic[Row]):
    """One row for each process that has such facts.

    Rows are bounded by the process tree: they are made for processes that it knows, and freed by
    `forget` when it forgets them. Each table bounds what one row holds; `drops` counts what was
    dropped, by reason.
    """

    def __init__(self, keys: set[ProcessKey]) -> None:
        """`keys`: the processes that have a row in any table, so that one look tells whether there
        is something to forget.
        """
        self.drops: Counter[str] = Counter()
        self.rows: dict[ProcessKey, Row] = {}
        self._keys = keys

    def put(self, key: ProcessKey, row: Row) -> Row:
        self.rows[key] = row
        self._keys.add(key)
        return row

    def forget(self, key: ProcessKey) -> None:
        self.rows.pop(key, None)
